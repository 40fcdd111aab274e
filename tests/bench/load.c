// A client's load on librdkafka, for `./run bench`: produces records of one size as fast as the client can, then reads them
// back, and prints one JSON line. --mock measures the client against its own in-process mock cluster: the client's ceiling.
//
//	weir-load --brokers HOST:PORT | --mock   --topic T --partitions N --record-bytes N --seconds N [--acks all]
//[--idempotent]

#include <getopt.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLES_MAX = 1 << 20 };

struct load {
	const char *brokers; // NULL: the mock cluster
	const char *topic;
	const char *acks;
	bool idempotent;
	int partitions;
	size_t record_bytes;
	double seconds;

	uint64_t acked;
	uint64_t failed;
	uint64_t consumed;
	uint32_t *samples_us; // of the ack latency, one in sample_every
	size_t sample_count;
};

static uint64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void fatal(const char *what, const char *why)
{
	fprintf(stderr, "weir-load: %s: %s\n", what, why);
	exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value)
{
	char error[256];
	if (rd_kafka_conf_set(conf, name, value, error, sizeof error) != RD_KAFKA_CONF_OK)
		fatal(name, error);
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
	struct load *load = opaque;
	(void)client;
	if (message->err) {
		load->failed++;
		return;
	}
	load->acked++;
	int64_t latency_us = rd_kafka_message_latency(message);
	if (latency_us >= 0 && load->sample_count < SAMPLES_MAX)
		load->samples_us[load->sample_count++] = (uint32_t)latency_us;
}

static rd_kafka_conf_t *common_conf(const struct load *load)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	if (load->brokers)
		set(conf, "bootstrap.servers", load->brokers);
	else
		set(conf, "test.mock.num.brokers", "1");
	return conf;
}

static rd_kafka_t *producer_new(struct load *load)
{
	char error[256];
	rd_kafka_conf_t *conf = common_conf(load);
	set(conf, "acks", load->acks);
	set(conf, "enable.idempotence", load->idempotent ? "true" : "false");
	set(conf, "queue.buffering.max.kbytes", "131072");
	set(conf, "linger.ms", "5");
	rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
	rd_kafka_conf_set_opaque(conf, load);
	rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
	if (!producer)
		fatal("producer", error);
	return producer;
}

static void topic_create(rd_kafka_t *client, const struct load *load)
{
	char error[256];
	if (!load->brokers) { // the mock cluster knows no CreateTopics
		rd_kafka_mock_topic_create(rd_kafka_handle_mock_cluster(client), load->topic, load->partitions, 1);
		return;
	}
	rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(load->topic, load->partitions, 1, error, sizeof error);
	rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
	rd_kafka_CreateTopics(client, &topic, 1, NULL, queue);
	rd_kafka_event_t *event = rd_kafka_queue_poll(queue, 30000);
	if (!event)
		fatal("create topic", "no answer");
	rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_NewTopic_destroy(topic);
}

// Returns the seconds from the first send to the last ack.
static double produce(rd_kafka_t *producer, struct load *load)
{
	char *record = malloc(load->record_bytes);
	if (!record)
		fatal("record", "no memory");
	for (size_t i = 0; i < load->record_bytes; i++)
		record[i] = (char)('a' + i % 26);
	uint64_t start_us = now_us();
	uint64_t end_us = start_us + (uint64_t)(load->seconds * 1e6);
	int32_t partition = 0;
	while (now_us() < end_us) {
		rd_kafka_resp_err_t error = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(load->topic),
			RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_VALUE(record, load->record_bytes),
			RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
		if (error == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
			rd_kafka_poll(producer, 10);
			continue;
		}
		if (error)
			fatal("produce", rd_kafka_err2str(error));
		partition = (partition + 1) % load->partitions;
		rd_kafka_poll(producer, 0);
	}
	if (rd_kafka_flush(producer, 60000))
		fatal("flush", "records are unacked after 60 s");
	free(record);
	return (double)(now_us() - start_us) / 1e6;
}

static void assign_beginning(rd_kafka_t *consumer, const struct load *load)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(load->partitions);
	for (int i = 0; i < load->partitions; i++)
		rd_kafka_topic_partition_list_add(list, load->topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
	rd_kafka_assign(consumer, list);
	rd_kafka_topic_partition_list_destroy(list);
}

// Reads as many records as were acked, from the beginning. The mock cluster keeps only the last few MB of a partition, so there
// the same ones are read again and again. Returns the seconds from the first record to the last.
static double consume(struct load *load, const char *brokers)
{
	char error[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	set(conf, "bootstrap.servers", brokers);
	set(conf, "group.id", "weir-load");
	set(conf, "enable.auto.commit", "false");
	set(conf, "enable.partition.eof", "true");
	set(conf, "fetch.message.max.bytes", "8388608");
	rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof error);
	if (!consumer)
		fatal("consumer", error);
	rd_kafka_poll_set_consumer(consumer);
	assign_beginning(consumer, load);
	uint64_t first_us = 0;
	uint64_t give_up_us = now_us() + 120 * 1000000ull;
	int ended = 0;
	while (load->consumed < load->acked && now_us() < give_up_us) {
		rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, 1000);
		if (!message)
			continue;
		if (!message->err && message->len == load->record_bytes) {
			first_us = first_us ? first_us : now_us();
			load->consumed++;
		} else if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && !load->brokers && ++ended == load->partitions) {
			ended = 0;
			assign_beginning(consumer, load);
		}
		rd_kafka_message_destroy(message);
	}
	double seconds = (double)(now_us() - first_us) / 1e6;
	rd_kafka_consumer_close(consumer);
	rd_kafka_destroy(consumer);
	return seconds;
}

static int compare_us(const void *a, const void *b)
{
	uint32_t left = *(const uint32_t *)a;
	uint32_t right = *(const uint32_t *)b;
	return (left > right) - (left < right);
}

static double percentile_ms(struct load *load, double part)
{
	if (!load->sample_count)
		return 0;
	return load->samples_us[(size_t)(part * (double)(load->sample_count - 1))] / 1000.0;
}

static void parse(struct load *load, int argc, char **argv)
{
	static const struct option options[] = {{"brokers", required_argument, NULL, 'b'}, {"mock", no_argument, NULL, 'm'},
		{"topic", required_argument, NULL, 't'}, {"partitions", required_argument, NULL, 'p'},
		{"record-bytes", required_argument, NULL, 'r'}, {"seconds", required_argument, NULL, 's'},
		{"acks", required_argument, NULL, 'a'}, {"idempotent", no_argument, NULL, 'i'}, {0}};
	*load = (struct load){.topic = "load", .acks = "all", .partitions = 12, .record_bytes = 1024, .seconds = 5};
	int choice;
	bool mock = false;
	while ((choice = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (choice) {
		case 'b':
			load->brokers = optarg;
			break;
		case 'm':
			mock = true;
			break;
		case 't':
			load->topic = optarg;
			break;
		case 'p':
			load->partitions = atoi(optarg);
			break;
		case 'r':
			load->record_bytes = (size_t)atol(optarg);
			break;
		case 's':
			load->seconds = atof(optarg);
			break;
		case 'a':
			load->acks = optarg;
			break;
		case 'i':
			load->idempotent = true;
			break;
		default:
			exit(2);
		}
	}
	if (mock == (load->brokers != NULL) || load->partitions < 1 || load->record_bytes < 1 || load->seconds <= 0)
		fatal("arguments", "one of --brokers and --mock, positive numbers");
}

// Where the mock cluster listens, so that the consumer can join it.
static void mock_address(rd_kafka_t *producer, char *text, size_t size)
{
	const struct rd_kafka_metadata *metadata;
	if (rd_kafka_metadata(producer, 0, NULL, &metadata, 10000) || metadata->broker_cnt < 1)
		fatal("mock cluster", "no metadata");
	snprintf(text, size, "%s:%d", metadata->brokers[0].host, metadata->brokers[0].port);
	rd_kafka_metadata_destroy(metadata);
}

int main(int argc, char **argv)
{
	struct load load;
	char brokers[256];
	parse(&load, argc, argv);
	load.samples_us = malloc(SAMPLES_MAX * sizeof *load.samples_us);
	rd_kafka_t *producer = producer_new(&load);
	if (load.brokers)
		snprintf(brokers, sizeof brokers, "%s", load.brokers);
	else
		mock_address(producer, brokers, sizeof brokers);
	topic_create(producer, &load);
	double produce_s = produce(producer, &load);
	double consume_s = consume(&load, brokers);
	rd_kafka_destroy(producer);
	qsort(load.samples_us, load.sample_count, sizeof *load.samples_us, compare_us);
	double megabytes = (double)load.record_bytes / 1e6;
	printf("{\"acked\": %" PRIu64 ", \"failed\": %" PRIu64 ", \"consumed\": %" PRIu64 ", \"produce_mb_s\": %.1f, "
	       "\"consume_mb_s\": %.1f, \"ack_p50_ms\": %.1f, \"ack_p99_ms\": %.1f}\n",
		load.acked, load.failed, load.consumed, (double)load.acked * megabytes / produce_s,
		(double)load.consumed * megabytes / consume_s, percentile_ms(&load, 0.5), percentile_ms(&load, 0.99));
	free(load.samples_us);
	return load.failed || load.consumed < load.acked;
}
