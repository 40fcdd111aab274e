// The metadata store on etcd v3. A call, as it goes well: pack -> send to the current endpoint -> answer -> unpack -> fn.
// When there is no connection it waits for one until its deadline. What fails is told to the caller (outcome unknown), with one
// exception: a token that etcd has forgotten is refused before anything happens, so the call is repeated once with a new one.
// Watches and leases live on streams, in the two files beside this one.

#include "common/storage/metadata_store_etcd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice.h>

#include "common/base/arena.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "common/storage/metadata_store_backend.h"

enum {
	REQUESTS_MAX = 4096,          // more are answered ERROR_BUSY
	REQUEST_BYTES_MAX = 64 << 20, // packed, of all requests under way
	AUTHENTICATE_TIMEOUT_MS = 3000,
	AUTHENTICATE_REFUSED_RETRY_MS = 5000,
};

struct etcd_request {
	struct etcd_call call;
	struct etcd_tag posted; // for an answer without a call
	struct list link;
	struct etcd_store *store;
	const char *method;
	grpc_byte_buffer *packed;
	size_t size;
	gpr_timespec deadline;
	struct loop_timer wait_timer; // the deadline while it waits for a token
	bool in_call;
	bool repeated;
	uint64_t token_number;
	size_t endpoint;
	enum error error; // of an answer without a call
	void (*answer)(struct etcd_request *request, enum error error, struct bytes reply);
	union {
		metadata_range_fn range;
		metadata_txn_fn txn;
		metadata_lease_fn lease;
	} fn;
	void *ctx;
	int64_t lease;
	bool writes; // takes space, so its success ends `full`
};

static struct etcd_store *etcd_of(struct metadata_store *base)
{
	return container_of(base, struct etcd_store, base);
}

// What etcd means by a status (etcd's etcdserver/api/v3rpc/rpctypes/error.go).

static bool details_tell(struct bytes details, const char *text)
{
	return details.len && memmem(details.data, details.len, text, strlen(text));
}

static enum error etcd_error(grpc_status_code status, struct bytes details)
{
	switch (status) {
	case GRPC_STATUS_OK:
		return ERROR_OK;
	case GRPC_STATUS_DEADLINE_EXCEEDED:
		return ERROR_TIMED_OUT;
	case GRPC_STATUS_INVALID_ARGUMENT:
		if (details_tell(details, "request is too large"))
			return ERROR_TOO_LARGE;
		return details_tell(details, "user name is empty") || details_tell(details, "authentication failed")
			       ? ERROR_PERMISSION
			       : ERROR_MALFORMED;
	case GRPC_STATUS_NOT_FOUND:
		return ERROR_NOT_FOUND;
	case GRPC_STATUS_ALREADY_EXISTS:
		return ERROR_ALREADY_EXISTS;
	case GRPC_STATUS_PERMISSION_DENIED:
	case GRPC_STATUS_UNAUTHENTICATED:
		return ERROR_PERMISSION;
	case GRPC_STATUS_RESOURCE_EXHAUSTED:
		if (details_tell(details, "database space exceeded"))
			return ERROR_STORAGE;
		return details_tell(details, "too many requests") ? ERROR_THROTTLED : ERROR_TOO_LARGE;
	case GRPC_STATUS_FAILED_PRECONDITION:
	case GRPC_STATUS_OUT_OF_RANGE:
		return ERROR_CONFLICT;
	case GRPC_STATUS_UNIMPLEMENTED:
		return ERROR_INTERNAL;
	default: // unavailable, and whatever else broke on the way: the outcome is unknown
		return ERROR_DISCONNECTED;
	}
}

static void store_note_space(struct etcd_store *store, const struct etcd_request *request, enum error error)
{
	if (error == ERROR_STORAGE && !store->base.full) {
		store->base.full = true;
		log_event(LOG_ERROR, "etcd_out_of_space",
			LOG_TEXT("hint", "raise its quota or compact and defragment, then disarm the alarm"));
	} else if (!error && request->writes && store->base.full) {
		store->base.full = false;
		log_event(LOG_INFO, "etcd_has_space_again");
	}
}

// Requests.

static void store_authenticate(struct etcd_store *store);
static void request_submit(struct etcd_request *request);

static void request_free(struct etcd_request *request)
{
	struct etcd_store *store = request->store;
	loop_timer_clear(store->loop, &request->wait_timer);
	list_remove(&request->link);
	store->request_count--;
	store->request_bytes -= request->size;
	if (request->packed)
		grpc_byte_buffer_destroy(request->packed);
	free(request);
}

static void request_posted(struct etcd_tag *tag, bool ok)
{
	struct etcd_request *request = container_of(tag, struct etcd_request, posted);
	(void)ok;
	request->answer(request, request->store->closing ? ERROR_CANCELED : request->error, BYTES_NULL);
	request_free(request);
}

// The answer comes in a later turn.
static void request_post(struct etcd_request *request, enum error error)
{
	struct etcd_store *store = request->store;
	loop_timer_clear(store->loop, &request->wait_timer);
	list_remove(&request->link);
	list_append(&store->requests, &request->link);
	request->error = error;
	request->posted.done = request_posted;
	etcd_queue_post(store->queue, &request->posted);
}

static bool request_repeats(struct etcd_request *request, grpc_status_code status)
{
	struct etcd_store *store = request->store;
	if (status != GRPC_STATUS_UNAUTHENTICATED || !store->user || request->repeated || store->closing)
		return false;
	etcd_store_drop_token(store, request->token_number);
	request->repeated = true;
	return true;
}

static void request_completed(struct etcd_call *call)
{
	struct etcd_request *request = container_of(call, struct etcd_request, call);
	struct etcd_store *store = request->store;
	grpc_status_code status = call->status;
	request->in_call = false;
	if (!store->closing)
		etcd_store_result(store, request->endpoint, status);
	if (request_repeats(request, status)) {
		etcd_call_done(call);
		request_submit(request);
		return;
	}
	enum error error = store->closing ? ERROR_CANCELED : etcd_error(status, etcd_call_details(call));
	store_note_space(store, request, error);
	if (error)
		log_event(LOG_DEBUG, "etcd_call_failed", LOG_TEXT("method", request->method), LOG_NUMBER("status", status),
			LOG_BYTES("details", etcd_call_details(call)));
	request->answer(request, error, error ? BYTES_NULL : etcd_call_reply(call));
	etcd_call_done(call);
	request_free(request);
}

static void request_start(struct etcd_request *request, const char *token)
{
	struct etcd_store *store = request->store;
	struct etcd_target target = {store->queue, etcd_endpoints_channel(&store->endpoints), token};
	list_remove(&request->link);
	list_append(&store->requests, &request->link);
	loop_timer_clear(store->loop, &request->wait_timer);
	request->in_call = true;
	request->token_number = store->token_number;
	request->endpoint = store->endpoints.current;
	etcd_call_start(&request->call, &target, request->method, request->packed, request->deadline, request_completed);
}

static void request_wait_over(struct loop_timer *timer)
{
	request_post(container_of(timer, struct etcd_request, wait_timer), ERROR_TIMED_OUT);
}

static uint64_t timespec_us(gpr_timespec time)
{
	return time.tv_sec > 0 ? (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000 : 0;
}

static void request_submit(struct etcd_request *request)
{
	struct etcd_store *store = request->store;
	if (store->user && !store->token) {
		list_remove(&request->link);
		list_append(&store->waiting, &request->link);
		request->wait_timer.on_due = request_wait_over;
		loop_timer_set(store->loop, &request->wait_timer, timespec_us(request->deadline));
		store_authenticate(store);
		return;
	}
	request_start(request, store->token);
}

static struct etcd_request *request_new(struct etcd_store *store, const char *method, uint32_t timeout_ms,
	void (*answer)(struct etcd_request *request, enum error error, struct bytes reply), void *ctx)
{
	struct etcd_request *request = memory_zalloc(sizeof *request);
	request->store = store;
	request->method = method;
	request->deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
	request->answer = answer;
	request->ctx = ctx;
	list_append(&store->requests, &request->link);
	store->request_count++;
	return request;
}

static void request_send(struct etcd_request *request, const ProtobufCMessage *message)
{
	struct etcd_store *store = request->store;
	request->size = protobuf_c_message_get_packed_size(message);
	store->request_bytes += request->size;
	if (store->closing) {
		request_post(request, ERROR_CANCELED);
	} else if (store->request_count > REQUESTS_MAX || store->request_bytes > REQUEST_BYTES_MAX) {
		request_post(request, ERROR_BUSY);
	} else {
		request->packed = etcd_pack(message);
		request_submit(request);
	}
}

// Authentication: one at a time, whoever needs the token waits for it.

static void store_authenticate_later(struct etcd_store *store, uint64_t pause_ms)
{
	loop_timer_set(store->loop, &store->authenticate_timer, deadline_in_ms(loop_env(store->loop), pause_ms));
}

static bool token_legal(const char *token)
{
	grpc_slice slice = grpc_slice_from_static_string(token);
	return *token && grpc_header_nonbin_value_is_legal(slice);
}

static void store_take_token(struct etcd_store *store, const char *token)
{
	free(store->token);
	store->token = memory_strdup(token);
	store->token_number++;
	struct list due;
	list_init(&due);
	for (struct list *link = list_pop(&store->waiting); link; link = list_pop(&store->waiting))
		list_append(&due, link);
	for (struct list *link = list_pop(&due); link; link = list_pop(&due))
		request_start(container_of(link, struct etcd_request, link), store->token);
	etcd_watches_open(store);
	etcd_leases_open(store);
}

static void store_authentication_failed(struct etcd_store *store, enum error error)
{
	// Nobody there: those who wait go on waiting until their deadlines. Refused: there is no use in waiting.
	if (error == ERROR_TIMED_OUT || error == ERROR_DISCONNECTED) {
		store_authenticate_later(store, ETCD_RETRY_MIN_MS);
		return;
	}
	log_event(LOG_ERROR, "etcd_authentication_failed", LOG_TEXT("user", store->user), LOG_CAUSE(error));
	while (!list_empty(&store->waiting))
		request_post(container_of(store->waiting.next, struct etcd_request, link), ERROR_PERMISSION);
	if (!list_empty(&store->watches) || !list_empty(&store->keeps))
		store_authenticate_later(store, AUTHENTICATE_REFUSED_RETRY_MS);
}

static void store_authenticated(struct etcd_request *request, enum error error, struct bytes reply)
{
	struct etcd_store *store = request->store;
	struct arena arena;
	store->authenticating = false;
	if (store->closing)
		return;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__AuthenticateResponse *response = NULL;
	if (!error)
		response = protobuf_unpack(&etcd__authenticate_response__descriptor, reply, &arena);
	if (response && token_legal(response->token))
		store_take_token(store, response->token);
	else
		store_authentication_failed(store, error ? error : ERROR_MALFORMED);
	arena_done(&arena);
}

static void store_authenticate(struct etcd_store *store)
{
	if (store->authenticating || store->closing)
		return;
	store->authenticating = true;
	loop_timer_clear(store->loop, &store->authenticate_timer);
	Etcd__AuthenticateRequest message = ETCD__AUTHENTICATE_REQUEST__INIT;
	message.name = store->user;
	message.password = store->password;
	struct etcd_request *request =
		request_new(store, "/etcdserverpb.Auth/Authenticate", AUTHENTICATE_TIMEOUT_MS, store_authenticated, NULL);
	request->packed = etcd_pack(&message.base);
	request->repeated = true;
	request_start(request, NULL);
}

static void store_authenticate_due(struct loop_timer *timer)
{
	struct etcd_store *store = container_of(timer, struct etcd_store, authenticate_timer);
	if (!store->token)
		store_authenticate(store);
}

// For the streams.

bool etcd_store_target(struct etcd_store *store, struct etcd_target *ret_target)
{
	if (store->user && !store->token) {
		if (!store->authenticate_timer.heap_index)
			store_authenticate(store);
		return false;
	}
	*ret_target = (struct etcd_target){store->queue, etcd_endpoints_channel(&store->endpoints), store->token};
	return true;
}

void etcd_store_result(struct etcd_store *store, size_t endpoint, grpc_status_code status)
{
	if (!etcd_endpoints_result(&store->endpoints, endpoint, status))
		return;
	log_event(LOG_WARN, "etcd_next_endpoint", LOG_TEXT("from", store->endpoints.list[endpoint].address),
		LOG_TEXT("to", store->endpoints.list[store->endpoints.current].address));
	etcd_watches_close(store);
	etcd_leases_close(store);
	etcd_watches_open(store);
	etcd_leases_open(store);
}

void etcd_store_drop_token(struct etcd_store *store, uint64_t token_number)
{
	if (token_number != store->token_number)
		return;
	free(store->token);
	store->token = NULL;
}

void etcd_store_saw(struct etcd_store *store, const Etcd__ResponseHeader *header)
{
	if (header && header->revision > store->revision_seen)
		store->revision_seen = header->revision;
}

uint64_t etcd_store_retry_due(struct etcd_store *store, uint32_t *retry_ms)
{
	uint32_t next_ms = *retry_ms ? *retry_ms * 2 : ETCD_RETRY_MIN_MS;
	*retry_ms = next_ms < ETCD_RETRY_MAX_MS ? next_ms : ETCD_RETRY_MAX_MS;
	return deadline_in_ms(loop_env(store->loop), *retry_ms);
}

// Range.

static void range_answer(struct etcd_request *request, enum error error, struct bytes reply)
{
	struct arena arena;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__RangeResponse *response = NULL;
	if (!error)
		response = protobuf_unpack(&etcd__range_response__descriptor, reply, &arena);
	if (!response || !response->header) {
		request->fn.range(request->ctx, error ? error : ERROR_MALFORMED, NULL, 0, false, 0);
		arena_done(&arena);
		return;
	}
	struct metadata_row *rows = arena_alloc(&arena, response->n_kvs * sizeof *rows);
	for (size_t i = 0; i < response->n_kvs; i++) {
		const Etcd__KeyValue *row = response->kvs[i];
		rows[i] = (struct metadata_row){protobuf_view(row->key), protobuf_view(row->value), row->create_revision,
			row->mod_revision, row->version, row->lease};
	}
	etcd_store_saw(request->store, response->header);
	request->fn.range(request->ctx, ERROR_OK, rows, response->n_kvs, response->more, response->header->revision);
	arena_done(&arena);
}

static void etcd_range(struct metadata_store *base, struct bytes key, struct bytes range_end, size_t limit, uint32_t timeout_ms,
	metadata_range_fn fn, void *ctx)
{
	static const uint8_t first_key[1] = {0};
	struct etcd_request *request = request_new(etcd_of(base), "/etcdserverpb.KV/Range", timeout_ms, range_answer, ctx);
	request->fn.range = fn;
	Etcd__RangeRequest message = ETCD__RANGE_REQUEST__INIT;
	message.key = protobuf_data(key.len || !range_end.len ? key : bytes_view(first_key, sizeof first_key));
	message.range_end = protobuf_data(range_end);
	message.limit = (int64_t)limit;
	request_send(request, &message.base);
}

// Txn.

static void txn_answer(struct etcd_request *request, enum error error, struct bytes reply)
{
	struct arena arena;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__TxnResponse *response = NULL;
	if (!error)
		response = protobuf_unpack(&etcd__txn_response__descriptor, reply, &arena);
	if (response && response->header) {
		etcd_store_saw(request->store, response->header);
		request->fn.txn(request->ctx, ERROR_OK, response->succeeded, response->header->revision);
	} else {
		// An answer that makes no sense leaves the outcome unknown.
		request->fn.txn(request->ctx, error ? error : ERROR_DISCONNECTED, false, 0);
	}
	arena_done(&arena);
}

static Etcd__Compare **txn_compares(const struct metadata_txn *txn, struct arena *arena)
{
	Etcd__Compare **list = arena_alloc(arena, txn->compare_count * sizeof(Etcd__Compare *));
	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct metadata_compare *from = &txn->compares[i];
		Etcd__Compare *compare = list[i] = arena_alloc(arena, sizeof *compare);
		etcd__compare__init(compare);
		compare->key = protobuf_data(from->key);
		switch (from->kind) {
		case METADATA_COMPARE_ABSENT:
			compare->target = ETCD__COMPARE__TARGET__VERSION;
			compare->target_union_case = ETCD__COMPARE__TARGET_UNION_VERSION;
			break;
		case METADATA_COMPARE_VALUE:
			compare->target = ETCD__COMPARE__TARGET__VALUE;
			compare->target_union_case = ETCD__COMPARE__TARGET_UNION_VALUE;
			compare->value = protobuf_data(from->value);
			break;
		case METADATA_COMPARE_CREATE_REVISION:
			compare->target = ETCD__COMPARE__TARGET__CREATE;
			compare->target_union_case = ETCD__COMPARE__TARGET_UNION_CREATE_REVISION;
			compare->create_revision = from->create_revision;
			break;
		}
	}
	return list;
}

static Etcd__RequestOp *txn_put(const struct metadata_put *from, struct arena *arena)
{
	Etcd__RequestOp *operation = arena_alloc(arena, sizeof *operation);
	etcd__request_op__init(operation);
	operation->request_case = ETCD__REQUEST_OP__REQUEST_PUT;
	operation->put = arena_alloc(arena, sizeof *operation->put);
	etcd__put_request__init(operation->put);
	operation->put->key = protobuf_data(from->key);
	operation->put->value = protobuf_data(from->value);
	operation->put->lease = from->lease;
	return operation;
}

static Etcd__RequestOp *txn_delete(const struct metadata_delete *from, struct arena *arena)
{
	Etcd__RequestOp *operation = arena_alloc(arena, sizeof *operation);
	etcd__request_op__init(operation);
	operation->request_case = ETCD__REQUEST_OP__REQUEST_DELETE_RANGE;
	operation->delete_range = arena_alloc(arena, sizeof *operation->delete_range);
	etcd__delete_range_request__init(operation->delete_range);
	operation->delete_range->key = protobuf_data(from->key);
	operation->delete_range->range_end = protobuf_data(from->range_end);
	return operation;
}

static void etcd_txn(
	struct metadata_store *base, const struct metadata_txn *txn, uint32_t timeout_ms, metadata_txn_fn fn, void *ctx)
{
	struct etcd_request *request = request_new(etcd_of(base), "/etcdserverpb.KV/Txn", timeout_ms, txn_answer, ctx);
	request->fn.txn = fn;
	request->writes = txn->put_count > 0;
	enum error error = metadata_txn_check(txn);
	if (error) {
		request_post(request, error);
		return;
	}
	struct arena arena;
	arena_init(&arena, 0);
	Etcd__TxnRequest message = ETCD__TXN_REQUEST__INIT;
	message.n_compare = txn->compare_count;
	message.compare = txn_compares(txn, &arena);
	message.success = arena_alloc(&arena, (txn->put_count + txn->delete_count) * sizeof(Etcd__RequestOp *));
	for (size_t i = 0; i < txn->put_count; i++)
		message.success[message.n_success++] = txn_put(&txn->puts[i], &arena);
	for (size_t i = 0; i < txn->delete_count; i++)
		message.success[message.n_success++] = txn_delete(&txn->deletes[i], &arena);
	request_send(request, &message.base);
	arena_done(&arena);
}

// Leases.

static void grant_answer(struct etcd_request *request, enum error error, struct bytes reply)
{
	struct arena arena;
	arena_init(&arena, ETCD_REPLY_BYTES_MAX);
	const Etcd__LeaseGrantResponse *response = NULL;
	if (!error)
		response = protobuf_unpack(&etcd__lease_grant_response__descriptor, reply, &arena);
	if (response && response->id)
		request->fn.lease(request->ctx, ERROR_OK, response->id);
	else
		request->fn.lease(request->ctx, error ? error : ERROR_DISCONNECTED, 0);
	arena_done(&arena);
}

static void etcd_lease_grant(struct metadata_store *base, uint32_t ttl_ms, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	struct etcd_request *request =
		request_new(etcd_of(base), "/etcdserverpb.Lease/LeaseGrant", timeout_ms, grant_answer, ctx);
	request->fn.lease = fn;
	request->writes = true;
	Etcd__LeaseGrantRequest message = ETCD__LEASE_GRANT_REQUEST__INIT;
	message.ttl = metadata_lease_ttl_s(ttl_ms);
	request_send(request, &message.base);
}

static void revoke_answer(struct etcd_request *request, enum error error, struct bytes reply)
{
	(void)reply; // nothing in it that we need
	request->fn.lease(request->ctx, error, error ? 0 : request->lease);
}

static void etcd_lease_revoke(struct metadata_store *base, int64_t lease, uint32_t timeout_ms, metadata_lease_fn fn, void *ctx)
{
	struct etcd_request *request =
		request_new(etcd_of(base), "/etcdserverpb.Lease/LeaseRevoke", timeout_ms, revoke_answer, ctx);
	request->fn.lease = fn;
	request->lease = lease;
	Etcd__LeaseRevokeRequest message = ETCD__LEASE_REVOKE_REQUEST__INIT;
	message.id = lease;
	request_send(request, &message.base);
}

// Start and end, as mirror images.

static void etcd_free(struct metadata_store *base)
{
	struct etcd_store *store = etcd_of(base);
	store->closing = true;
	etcd_leases_free(store);
	etcd_watches_free(store);
	loop_timer_clear(store->loop, &store->authenticate_timer);
	while (!list_empty(&store->waiting))
		request_post(container_of(store->waiting.next, struct etcd_request, link), ERROR_CANCELED);
	LIST_EACH (&store->requests, link) {
		struct etcd_request *request = container_of(link, struct etcd_request, link);
		if (request->in_call)
			etcd_call_cancel(&request->call);
	}
	etcd_queue_drain(store->queue);
	etcd_endpoints_done(&store->endpoints);
	etcd_queue_free(&store->queue);
	free(store->token);
	free(store->user);
	free(store->password);
	free(store);
}

static const struct metadata_store_ops etcd_ops = {
	.range = etcd_range,
	.txn = etcd_txn,
	.lease_grant = etcd_lease_grant,
	.lease_revoke = etcd_lease_revoke,
	.lease_keep = etcd_lease_keep,
	.lease_forget = etcd_lease_forget,
	.watch = etcd_watch,
	.unwatch = etcd_unwatch,
	.free = etcd_free,
};

enum error metadata_store_etcd_new(
	struct loop *loop, const struct metadata_store_settings *settings, struct metadata_store **ret_store, char reason[256])
{
	struct etcd_store *store = memory_zalloc(sizeof *store);
	store->base.ops = &etcd_ops;
	store->loop = loop;
	list_init(&store->requests);
	list_init(&store->waiting);
	list_init(&store->watches);
	list_init(&store->keeps);
	store->authenticate_timer.on_due = store_authenticate_due;
	store->queue = etcd_queue_new(loop);
	enum error error = etcd_endpoints_init(&store->endpoints, settings, reason);
	if (error) {
		etcd_queue_free(&store->queue);
		free(store);
		return error;
	}
	if (settings->user && *settings->user) {
		store->user = memory_strdup(settings->user);
		store->password = memory_strdup(settings->password ? settings->password : "");
	}
	*ret_store = &store->base;
	return ERROR_OK;
}
