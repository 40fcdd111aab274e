#include "frontend/kafka/serve.h"

#include "common/base/check.h"
#include "proto/kafka/kafka_api.h"

static const struct serve_api serve_apis[] = {
	{KAFKA_API_PRODUCE, ADMISSION_PRODUCE, serve_produce},
	{KAFKA_API_FETCH, ADMISSION_OTHER, serve_fetch}, // the request; its answer asks for ADMISSION_FETCH
	{KAFKA_API_LIST_OFFSETS, ADMISSION_OTHER, serve_list_offsets},
	{KAFKA_API_METADATA, ADMISSION_OTHER, serve_metadata},
	{KAFKA_API_OFFSET_COMMIT, ADMISSION_OTHER, serve_offset_commit},
	{KAFKA_API_OFFSET_FETCH, ADMISSION_OTHER, serve_offset_fetch},
	{KAFKA_API_FIND_COORDINATOR, ADMISSION_OTHER, serve_find_coordinator},
	{KAFKA_API_JOIN_GROUP, ADMISSION_OTHER, serve_join_group},
	{KAFKA_API_HEARTBEAT, ADMISSION_OTHER, serve_heartbeat},
	{KAFKA_API_LEAVE_GROUP, ADMISSION_OTHER, serve_leave_group},
	{KAFKA_API_SYNC_GROUP, ADMISSION_OTHER, serve_sync_group},
	{KAFKA_API_DESCRIBE_GROUPS, ADMISSION_OTHER, serve_describe_groups},
	{KAFKA_API_LIST_GROUPS, ADMISSION_OTHER, serve_list_groups},
	{KAFKA_API_API_VERSIONS, ADMISSION_OTHER, serve_api_versions},
	{KAFKA_API_CREATE_TOPICS, ADMISSION_OTHER, serve_create_topics},
	{KAFKA_API_DELETE_TOPICS, ADMISSION_OTHER, serve_delete_topics},
	{KAFKA_API_INIT_PRODUCER_ID, ADMISSION_OTHER, serve_init_producer_id},
	{KAFKA_API_OFFSET_FOR_LEADER_EPOCH, ADMISSION_OTHER, serve_offset_for_leader_epoch},
	{KAFKA_API_DESCRIBE_CONFIGS, ADMISSION_OTHER, serve_describe_configs},
	{KAFKA_API_CREATE_PARTITIONS, ADMISSION_OTHER, serve_create_partitions},
	{KAFKA_API_DELETE_GROUPS, ADMISSION_OTHER, serve_delete_groups},
	{KAFKA_API_OFFSET_DELETE, ADMISSION_OTHER, serve_offset_delete},
	{KAFKA_API_DESCRIBE_CLUSTER, ADMISSION_OTHER, serve_describe_cluster},
};

int serve_count(void)
{
	return (int)(sizeof serve_apis / sizeof serve_apis[0]);
}

const struct serve_api *serve_at(int index)
{
	CHECK(index >= 0 && index < serve_count());
	return &serve_apis[index];
}

const struct serve_api *serve_find(int16_t key)
{
	for (int i = 0; i < serve_count(); i++)
		if (serve_apis[i].key == key)
			return &serve_apis[i];
	return NULL;
}
