#include "common/storage/etcd_endpoints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "common/base/memory.h"
#include "common/storage/metadata_store_backend.h"

enum { PEM_BYTES_MAX = 1 << 20, FAILURES_MAX = 2 };

struct pem {
	char *ca;
	char *certificate;
	char *key;
};

static bool is_set(const char *text)
{
	return text && *text;
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	if (!file)
		return NULL;
	char *text = memory_alloc(PEM_BYTES_MAX + 1);
	size_t len = fread(text, 1, PEM_BYTES_MAX + 1, file);
	bool usable = !ferror(file) && len <= PEM_BYTES_MAX;
	fclose(file);
	if (usable) {
		text[len] = '\0';
		return memory_realloc(text, len + 1);
	}
	free(text);
	return NULL;
}

static enum error pem_load(const char *path, char **ret_text, char reason[256])
{
	char *text = read_file(path);
	if (text && strstr(text, "-----BEGIN ")) {
		*ret_text = text;
		return ERROR_OK;
	}
	free(text);
	snprintf(reason, 256, "%.200s is not a readable PEM file", path);
	return ERROR_MALFORMED;
}

static void pem_done(struct pem *pem)
{
	free(pem->ca);
	free(pem->certificate);
	free(pem->key);
}

// NULL texts if the settings ask for none; then ret_plain is true.
static enum error pem_init(struct pem *pem, const struct metadata_store_settings *settings, bool *ret_plain, char reason[256])
{
	bool ca = is_set(settings->ca_file);
	bool certificate = is_set(settings->cert_file);
	bool key = is_set(settings->key_file);
	enum error error = ERROR_OK;
	*pem = (struct pem){0};
	*ret_plain = !ca && !certificate && !key;
	if (certificate != key || (certificate && !ca)) {
		snprintf(reason, 256, "etcd: a client certificate needs its key and the certificate authority");
		return ERROR_MALFORMED;
	}
	if (ca)
		error = pem_load(settings->ca_file, &pem->ca, reason);
	if (!error && certificate)
		error = pem_load(settings->cert_file, &pem->certificate, reason);
	if (!error && key)
		error = pem_load(settings->key_file, &pem->key, reason);
	return error;
}

static grpc_channel_credentials *pem_credentials(const struct pem *pem, bool plain)
{
	if (plain)
		return grpc_insecure_credentials_create();
	grpc_ssl_pem_key_cert_pair pair = {pem->key, pem->certificate};
	return grpc_ssl_credentials_create_ex(pem->ca, pem->key ? &pair : NULL, NULL, NULL);
}

static grpc_channel *channel_new(const char *address, grpc_channel_credentials *credentials)
{
	static const struct {
		char *name;
		int value;
	} settings[] = {
		{GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0}, // else pings end after two, and a dead peer is never noticed
		{GRPC_ARG_KEEPALIVE_TIME_MS, 10000},        // etcd hangs up on whoever pings more often than every 5 s
		{GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3000},
		{GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200},
		{GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000},
		{GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2000}, // the time for one attempt to connect
		{GRPC_ARG_ENABLE_HTTP_PROXY, 0},
		{GRPC_ARG_ENABLE_RETRIES, 0},
		{GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, METADATA_RANGE_BYTES_MAX},
		{GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1},
		{GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1},
	};
	enum { COUNT = sizeof settings / sizeof settings[0] };
	grpc_arg args[COUNT];
	for (size_t i = 0; i < COUNT; i++)
		args[i] = (grpc_arg){.type = GRPC_ARG_INTEGER, .key = settings[i].name, .value.integer = settings[i].value};
	grpc_channel_args channel_args = {COUNT, args};
	return grpc_channel_create(address, credentials, &channel_args);
}

// host:port, or [IPv6 address]:port.
static bool address_valid(const char *address)
{
	const char *colon = strrchr(address, ':');
	if (!colon || colon == address || strpbrk(address, "/ \t@") || strlen(address) > 255)
		return false;
	if (address[0] != '[' && memchr(address, ':', (size_t)(colon - address)))
		return false;
	if (address[0] == '[' && colon[-1] != ']')
		return false;
	char *end;
	long port = strtol(colon + 1, &end, 10);
	return colon[1] >= '0' && colon[1] <= '9' && *end == '\0' && port > 0 && port <= 65535;
}

// The address in item without its scheme, NULL if item is not an endpoint for plain (or encrypted) connections.
static const char *endpoint_address(const char *item, bool plain)
{
	const char *scheme_end = strstr(item, "://");
	if (!scheme_end)
		return address_valid(item) ? item : NULL;
	const char *scheme = plain ? "http" : "https";
	size_t scheme_len = (size_t)(scheme_end - item);
	if (scheme_len != strlen(scheme) || strncmp(item, scheme, scheme_len) != 0)
		return NULL;
	return address_valid(scheme_end + 3) ? scheme_end + 3 : NULL;
}

static enum error endpoints_parse(
	struct etcd_endpoints *endpoints, char *items, bool plain, grpc_channel_credentials *credentials, char reason[256])
{
	char *rest = items;
	for (char *item = strsep(&rest, ","); item; item = strsep(&rest, ",")) {
		item += strspn(item, " ");
		item[strcspn(item, " ")] = '\0';
		const char *address = endpoint_address(item, plain);
		if (!address || endpoints->count == ETCD_ENDPOINTS_MAX) {
			snprintf(reason, 256, "'%.100s' is not an etcd endpoint (%s)", item,
				endpoints->count == ETCD_ENDPOINTS_MAX ? "too many"
				: plain                                ? "host:port or http://host:port"
								       : "host:port or https://host:port");
			return ERROR_MALFORMED;
		}
		endpoints->list[endpoints->count++] =
			(struct etcd_endpoint){memory_strdup(address), channel_new(address, credentials)};
	}
	return ERROR_OK;
}

enum error etcd_endpoints_init(
	struct etcd_endpoints *endpoints, const struct metadata_store_settings *settings, char reason[256])
{
	struct pem pem;
	bool plain;
	*endpoints = (struct etcd_endpoints){0};
	enum error error = pem_init(&pem, settings, &plain, reason);
	if (!error) {
		endpoints->list = memory_zalloc(ETCD_ENDPOINTS_MAX * sizeof *endpoints->list);
		char *items = memory_strdup(settings->endpoints ? settings->endpoints : "");
		grpc_channel_credentials *credentials = pem_credentials(&pem, plain);
		error = endpoints_parse(endpoints, items, plain, credentials, reason);
		grpc_channel_credentials_release(credentials);
		free(items);
	}
	pem_done(&pem);
	if (error)
		etcd_endpoints_done(endpoints);
	return error;
}

void etcd_endpoints_done(struct etcd_endpoints *endpoints)
{
	for (size_t i = 0; i < endpoints->count; i++) {
		grpc_channel_destroy(endpoints->list[i].channel);
		free(endpoints->list[i].address);
	}
	free(endpoints->list);
	*endpoints = (struct etcd_endpoints){0};
}

grpc_channel *etcd_endpoints_channel(const struct etcd_endpoints *endpoints)
{
	return endpoints->list[endpoints->current].channel;
}

bool etcd_endpoints_result(struct etcd_endpoints *endpoints, size_t index, grpc_status_code status)
{
	if (index != endpoints->current)
		return false;
	if (status != GRPC_STATUS_DEADLINE_EXCEEDED && status != GRPC_STATUS_UNAVAILABLE) {
		endpoints->failures = 0;
		return false;
	}
	if (++endpoints->failures < FAILURES_MAX || endpoints->count < 2)
		return false;
	endpoints->failures = 0;
	endpoints->current = (endpoints->current + 1) % endpoints->count;
	return true;
}
