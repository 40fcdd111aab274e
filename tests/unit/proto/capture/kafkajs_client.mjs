// kafkajs: creates a topic, produces in a transaction, consumes in a group. BROKER is where.

import { createRequire } from 'module'
const { Kafka, logLevel } = createRequire(process.cwd() + '/')('kafkajs')

const kafka = new Kafka({ brokers: [process.env.BROKER], clientId: 'weir-kafkajs', logLevel: logLevel.ERROR })

const admin = kafka.admin()
await admin.connect()
await admin.createTopics({ topics: [{ topic: 'weir-created', numPartitions: 3, replicationFactor: 1 }], waitForLeaders: false })
await admin.deleteTopics({ topics: ['weir-created'] })
await admin.disconnect()

const message = { key: 'key', value: 'value', partition: 1, headers: { header: 'x' }, timestamp: '1700000000000' }
const plain = kafka.producer()
await plain.connect()
await plain.send({ topic: 'weir-capture', acks: -1, messages: [message] })
await plain.disconnect()

const producer = kafka.producer({ transactionalId: 'weir-transaction', idempotent: true, maxInFlightRequests: 1 })
await producer.connect()
const transaction = await producer.transaction()
await transaction.send({ topic: 'weir-capture', acks: -1, messages: [message] })
await transaction.sendOffsets({
  consumerGroupId: 'weir-group',
  topics: [{ topic: 'weir-capture', partitions: [{ partition: 1, offset: '5' }] }],
})
await transaction.commit()
await producer.disconnect()

const consumer = kafka.consumer({ groupId: 'weir-group', heartbeatInterval: 300, maxWaitTimeInMs: 200 })
await consumer.connect()
await consumer.subscribe({ topics: ['weir-capture'], fromBeginning: true })
await consumer.run({ autoCommit: false, eachMessage: async () => {} })
await new Promise(resolve => setTimeout(resolve, 3000))
await consumer.commitOffsets([{ topic: 'weir-capture', partition: 1, offset: '5' }])
await consumer.disconnect()
process.exit(0)
