// kafkajs against a cluster: `consume BOOTSTRAP TOPIC COUNT FILE` writes every record as a line (partition, offset, key, value);
// `features BOOTSTRAP` tries producer, groups and admin and says for each feature whether it did what Kafka does.
'use strict'

const assert = require('assert')
const crypto = require('crypto')
const fs = require('fs')
const { Kafka, CompressionTypes, ConfigResourceTypes, logLevel } = require('kafkajs')

const unique = crypto.randomBytes(4).toString('hex')
const SECONDS = 1000

function client(bootstrap, clientId) {
  return new Kafka({ clientId, brokers: bootstrap.split(','), logLevel: logLevel.ERROR, retry: { retries: 8 } })
}

// A promise bounded in time; the error names what did not come.
function within(seconds, what, promise) {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`${what}: not within ${seconds} s`)), seconds * SECONDS) })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

function until(seconds, what, condition) {
  const end = Date.now() + seconds * SECONDS
  return new Promise((resolve, reject) => {
    const look = () => {
      const value = condition()
      if (value) resolve(value)
      else if (Date.now() > end) reject(new Error(`${what()}: not within ${seconds} s`))
      else setTimeout(look, 20) // between two looks, never instead of one
    }
    look()
  })
}

// --- reading a whole topic ---

async function consume(bootstrap, topic, count, path) {
  const kafka = client(bootstrap, 'reader')
  const consumer = kafka.consumer({ groupId: `kafkajs-reads-${unique}` })
  const file = fs.openSync(path, 'w')
  let read = 0
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    partitionsConsumedConcurrently: 3,
    eachBatch: async ({ batch }) => {
      const lines = batch.messages.map((m) => `${batch.partition}\t${m.offset}\t${m.key}\t${m.value}\n`)
      fs.writeSync(file, lines.join(''))
      read += lines.length
    },
  })
  await until(240, () => `${read} of ${count} records read`, () => read >= count)
  await consumer.disconnect()
  fs.closeSync(file)
  const admin = kafka.admin()
  await admin.connect()
  const high = (await admin.fetchTopicOffsets(topic)).reduce((sum, p) => sum + Number(p.high), 0)
  await admin.disconnect()
  assert.strictEqual(high, count, 'the high watermarks together are not the number of records')
}

// --- features ---

let failures = 0

async function feature(name, seconds, try_) {
  try {
    await within(seconds, name, try_())
    console.log(`feature\t${name}\tok`)
  } catch (error) {
    failures++
    console.log(`feature\t${name}\tFAIL\t${(error.stack || String(error)).replace(/\n/g, '\\n').replace(/\t/g, ' ')}`)
  }
}

// Everything of a topic, by a group of its own: {partition: [message]}, once count messages came.
async function readAll(kafka, topic, count) {
  const consumer = kafka.consumer({ groupId: `reads-${topic}-${crypto.randomBytes(4).toString('hex')}`, maxWaitTimeInMs: 500 })
  const read = {}
  let total = 0
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      (read[partition] = read[partition] || []).push(message)
      total++
    },
  })
  await until(40, () => `${total} of ${count} messages of ${topic}`, () => total >= count)
  await consumer.disconnect()
  assert.strictEqual(total, count, `more messages in ${topic} than were sent`)
  return read
}

function someMessages(count, partitions) {
  return Array.from({ length: count }, (_, i) => ({
    partition: i % partitions,
    key: `key-${i}`,
    value: crypto.randomBytes(i % 700),
    headers: { number: String(i), binary: Buffer.from([0, 255, i & 255]) },
    timestamp: String(1700000000000 + i * 1000),
  }))
}

async function produceRoundTrip(kafka, admin, topic, producerOptions, sendOptions) {
  const partitions = 3
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
  const producer = kafka.producer({ allowAutoTopicCreation: false, ...producerOptions })
  await producer.connect()
  const messages = someMessages(600, partitions)
  for (const half of [0, 300]) {
    const sent = await producer.send({ topic, messages: messages.slice(half, half + 300), ...sendOptions })
    if (sendOptions.acks === 0) continue
    assert.strictEqual(sent.length, partitions)
    for (const row of sent) assert.strictEqual(row.baseOffset, String(half / partitions), `base offset of partition ${row.partition}`)
  }
  await producer.disconnect()
  const read = await readAll(kafka, topic, messages.length)
  for (let p = 0; p < partitions; p++) {
    const expected = messages.filter((m) => m.partition === p)
    assert.strictEqual((read[p] || []).length, expected.length, `messages in partition ${p}`)
    read[p].forEach((m, i) => {
      assert.strictEqual(m.offset, String(i))
      assert.strictEqual(m.key.toString(), expected[i].key)
      assert.ok(m.value.equals(expected[i].value), `value of ${p}/${i}`)
      assert.strictEqual(m.timestamp, expected[i].timestamp)
      assert.strictEqual(m.headers.number.toString(), expected[i].headers.number)
      assert.ok(m.headers.binary.equals(expected[i].headers.binary), `header of ${p}/${i}`)
    })
  }
}

async function nulls(kafka, admin) {
  const topic = `nulls-${unique}`
  await admin.createTopics({ topics: [{ topic, numPartitions: 1 }] })
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [{ key: null, value: 'no key' }, { key: 'tombstone', value: null }, { key: '', value: '' }] })
  await producer.disconnect()
  const [a, b, c] = (await readAll(kafka, topic, 3))[0]
  assert.strictEqual(a.key, null)
  assert.strictEqual(a.value.toString(), 'no key')
  assert.strictEqual(b.key.toString(), 'tombstone')
  assert.strictEqual(b.value, null)
  assert.deepStrictEqual([c.key.length, c.value.length], [0, 0])
}

async function autoCreate(kafka, admin) {
  const topic = `auto-${unique}`
  const producer = kafka.producer({ allowAutoTopicCreation: true })
  await producer.connect()
  await producer.send({ topic, messages: [{ value: 'made by sending' }] })
  await producer.disconnect()
  assert.ok((await admin.listTopics()).includes(topic))
}

class Member {
  constructor(kafka, name, groupId, topic) {
    this.name = name
    this.topic = topic
    this.read = []
    this.assigned = []
    this.consumer = kafka.consumer({ groupId, sessionTimeout: 10000, heartbeatInterval: 500, maxWaitTimeInMs: 300 })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => { this.assigned = payload.memberAssignment[topic] || [] })
  }

  async start() {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: [this.topic], fromBeginning: true })
    await this.consumer.run({ eachMessage: async ({ partition, message }) => { this.read.push(`${partition}/${message.offset}/${message.value}`) } })
  }
}

async function groupOfTwo(kafka, admin) {
  const topic = `group-${unique}`
  const groupId = `two-${unique}`
  const partitions = 4
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions }] })
  const producer = kafka.producer()
  await producer.connect()
  let sent = 0
  const send = (count) => producer.send({ topic, messages: Array.from({ length: count }, () => ({ value: String(sent++), partition: sent % partitions })) })
  const members = [new Member(kafka, 'a', groupId, topic), new Member(kafka, 'b', groupId, topic)]
  const [a, b] = members
  const shares = () => members.map((m) => `${m.name} has [${m.assigned}]`).join(', ')
  const all = () => members.flatMap((m) => m.read)
  const everyRecordOnce = async () => {
    await until(40, () => `${all().length} of ${sent} messages by the group`, () => all().length >= sent)
    assert.strictEqual(new Set(all()).size, sent, 'a message is missing or came twice')
    assert.strictEqual(all().length, sent)
  }
  try {
    await a.start()
    await until(30, () => `a alone gets all: ${shares()}`, () => a.assigned.length === partitions)
    await b.start()
    await until(30, () => `two each: ${shares()}`, () => a.assigned.length === 2 && b.assigned.length === 2)
    await send(400)
    await everyRecordOnce()
    assert.ok(a.read.length === 200 && b.read.length === 200, `a read ${a.read.length}, b ${b.read.length}`)
    await b.consumer.disconnect()
    await until(30, () => `a has all again: ${shares()}`, () => a.assigned.length === partitions)
    await send(400)
    await everyRecordOnce()
    const [described] = (await admin.describeGroups([groupId])).groups
    assert.strictEqual(described.state, 'Stable')
    assert.strictEqual(described.members.length, 1)
    assert.strictEqual(described.protocolType, 'consumer')
    await assert.rejects(admin.deleteGroups([groupId]), 'a group with members was deleted')
  } finally {
    await Promise.all(members.map((m) => m.consumer.disconnect()))
    await producer.disconnect()
  }
}

async function commitsSurvive(kafka, admin) {
  const topic = `group-${unique}`
  const groupId = `two-${unique}`
  const committed = async () => (await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
  assert.deepStrictEqual((await committed()).map((p) => p.offset).sort(), ['200', '200', '200', '200'])
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic, messages: [0, 1, 2, 3].map((partition) => ({ value: 'later', partition })) })
  await producer.disconnect()
  const again = new Member(kafka, 'again', groupId, topic)
  try {
    await again.start()
    await until(30, () => `read after the commits: ${again.read}`, () => again.read.length >= 4)
    assert.deepStrictEqual(again.read.sort(), [0, 1, 2, 3].map((p) => `${p}/200/later`))
  } finally {
    await again.consumer.disconnect()
  }
  await admin.setOffsets({ groupId, topic, partitions: [{ partition: 1, offset: '17' }] })
  assert.strictEqual((await committed()).find((p) => p.partition === 1).offset, '17')
  await admin.resetOffsets({ groupId, topic, earliest: true })
  // "Earliest" is committed as a number.
  for (const p of await admin.fetchOffsets({ groupId, topics: [topic], resolveOffsets: true }).then((t) => t[0].partitions)) assert.strictEqual(p.offset, '0')
  const unknown = await admin.fetchOffsets({ groupId: `nobody-${unique}`, topics: [topic] })
  assert.ok(unknown[0].partitions.every((p) => p.offset === '-1'), 'an unknown group has no offsets')
}

async function groupsListed(kafka, admin) {
  const groupId = `two-${unique}`
  const listed = async () => (await admin.listGroups()).groups.map((g) => g.groupId)
  assert.ok((await listed()).includes(groupId))
  await admin.deleteGroups([groupId])
  assert.ok(!(await listed()).includes(groupId), 'the deleted group is still listed')
}

async function timestamps(kafka, admin) {
  const topic = `produced-none-${unique}` // message i of partition p: second 3 i + p
  const start = 1700000000000
  const at = async (time) => (await admin.fetchTopicOffsetsByTimestamp(topic, time)).sort((x, y) => x.partition - y.partition).map((p) => p.offset)
  assert.deepStrictEqual(await at(start), ['0', '0', '0'])
  assert.deepStrictEqual(await at(start + 1), ['1', '0', '0'])
  assert.deepStrictEqual(await at(start + 100 * 1000), ['34', '33', '33'])
  // After the last one kafkajs says the high watermark.
  assert.deepStrictEqual(await at(start + 3600 * 1000), ['200', '200', '200'])
}

async function offsets(kafka, admin) {
  const rows = await admin.fetchTopicOffsets(`produced-none-${unique}`)
  assert.deepStrictEqual(rows.map((r) => [r.low, r.high]), [['0', '200'], ['0', '200'], ['0', '200']])
}

async function createTopics(kafka, admin) {
  const topic = `made-${unique}`
  const wish = { topic, numPartitions: 5, configEntries: [{ name: 'retention.ms', value: '3600000' }] }
  assert.strictEqual(await admin.createTopics({ topics: [wish] }), true)
  assert.strictEqual(await admin.createTopics({ topics: [wish] }), false, 'a second creation must say that it exists')
  const refused = (wish_, code) => assert.rejects(admin.createTopics({ topics: [wish_] }), (error) => {
    const types = (error.errors || [error]).map((e) => e.type)
    assert.deepStrictEqual(types, [code])
    return true
  })
  await refused({ topic: 'no good name', numPartitions: 1 }, 'INVALID_TOPIC_EXCEPTION')
  await refused({ topic: `strange-${unique}`, numPartitions: 1, configEntries: [{ name: 'no.such.config', value: '1' }] }, 'INVALID_CONFIG')
  assert.ok((await admin.listTopics()).includes(topic))
  const meta = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.deepStrictEqual(meta.topics[0].partitions.map((p) => p.partitionId).sort(), [0, 1, 2, 3, 4])
  for (const p of meta.topics[0].partitions) assert.ok(p.leader >= 0 && p.isr.includes(p.leader), `partition ${p.partitionId} has no leader`)
}

async function createPartitions(kafka, admin) {
  const topic = `made-${unique}`
  await admin.createPartitions({ topicPartitions: [{ topic, count: 8 }] })
  const meta = await admin.fetchTopicMetadata({ topics: [topic] })
  assert.strictEqual(meta.topics[0].partitions.length, 8)
  await assert.rejects(admin.createPartitions({ topicPartitions: [{ topic, count: 3 }] }), 'fewer partitions were accepted')
}

async function describeConfigs(kafka, admin) {
  const topic = `made-${unique}`
  const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
  const value = (name) => (resources[0].configEntries.find((e) => e.configName === name) || {}).configValue
  assert.strictEqual(value('retention.ms'), '3600000')
  assert.strictEqual(value('cleanup.policy'), 'delete')
}

async function describeCluster(kafka, admin, bootstrap) {
  const cluster = await admin.describeCluster()
  assert.ok(cluster.clusterId, 'no cluster id')
  assert.deepStrictEqual(cluster.brokers.map((b) => `${b.host}:${b.port}`).sort(), bootstrap.split(',').sort())
  assert.ok(cluster.brokers.some((b) => b.nodeId === cluster.controller), `controller ${cluster.controller} is none of the brokers`)
}

async function deleteTopics(kafka, admin) {
  const topic = `made-${unique}`
  await admin.deleteTopics({ topics: [topic] })
  assert.ok(!(await admin.listTopics()).includes(topic), 'the deleted topic is still listed')
  await assert.rejects(admin.deleteTopics({ topics: [topic] }), (error) => {
    assert.strictEqual((error.cause || error).type, 'UNKNOWN_TOPIC_OR_PARTITION') // kafkajs tries that again, and wraps it then
    return true
  })
}

async function features(bootstrap) {
  const kafka = client(bootstrap, 'features')
  const admin = kafka.admin({ retry: { retries: 3 } })
  await within(20, 'connect', admin.connect())
  const round = (name, producer, send) => feature(`produce, ${name}`, 90, () => produceRoundTrip(kafka, admin, `produced-${name.replace(/[^a-z0-9]/g, '')}-${unique}`, producer, send))
  await feature('create topics', 60, () => createTopics(kafka, admin))
  await feature('create partitions', 60, () => createPartitions(kafka, admin))
  await feature('describe configs', 60, () => describeConfigs(kafka, admin))
  await feature('describe cluster', 60, () => describeCluster(kafka, admin, bootstrap))
  await feature('delete topics', 60, () => deleteTopics(kafka, admin))
  await feature('topic made by producing', 60, () => autoCreate(kafka, admin))
  await round('none', {}, { acks: -1 })
  await round('gzip', {}, { acks: -1, compression: CompressionTypes.GZIP })
  await round('acks=1', {}, { acks: 1 })
  await round('acks=0', {}, { acks: 0 })
  await round('idempotent', { idempotent: true, maxInFlightRequests: 1 }, { acks: -1, compression: CompressionTypes.GZIP })
  await feature('null key, null value', 60, () => nulls(kafka, admin))
  await feature('list offsets', 60, () => offsets(kafka, admin))
  await feature('list offsets by time', 60, () => timestamps(kafka, admin))
  await feature('group: join and leave', 180, () => groupOfTwo(kafka, admin))
  await feature('group: commits, alter offsets', 90, () => commitsSurvive(kafka, admin))
  await feature('groups: list, describe, delete', 60, () => groupsListed(kafka, admin))
  await within(20, 'disconnect', admin.disconnect())
}

async function main([verb, ...rest]) {
  if (verb === 'consume') await consume(rest[0], rest[1], Number(rest[2]), rest[3])
  else if (verb === 'features') await features(rest[0])
  else throw new Error(`unknown verb ${verb}`)
}

main(process.argv.slice(2)).then(() => { process.exitCode = failures ? 1 : 0 }, (error) => { console.error(error.stack); process.exitCode = 1 })
  // A client that a failed feature left connected must not keep the process.
  .finally(() => setTimeout(() => process.exit(), 2000).unref())
