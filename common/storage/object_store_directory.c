// A directory as bucket. A few threads do the blocking calls; everything else happens in the loop's thread:
//
//	call -> request at the end of `waiting` -> a thread executes it -> `finished` -> eventfd -> answered in the loop
//
// A put is there, whole and durable, or it is not: temp file in .tmp -> write -> fsync -> link (if_absent) or rename -> fsync
// of the directory; new parent directories are made and their parents synced first, top down. Until the link nothing is seen of
// it, and what a crash leaves behind is a temp file, swept when a store is opened an hour later. If the last fsync fails the
// put fails and the object may be seen or not, as with an S3 PUT whose answer was lost. It is not taken back: another put of
// the same key may have been told by then that the key is taken, and rely on it. For the same reason a put that finds its key
// taken syncs the directory before it says so. After a failed fsync the same descriptor is never synced again, because Linux
// reports the loss of dirty pages only once.
//
// A thread cannot be interrupted in a call: a request that has started answers with its real outcome when it is done, one that
// still waits at its deadline answers ERROR_TIMED_OUT and is never started.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "common/base/check.h"
#include "common/base/hash_map.h"
#include "common/base/memory.h"
#include "common/storage/object_store_backend.h"

enum {
	THREADS = 4, // requests in flight
	THREAD_STACK_BYTES = 256 << 10,
	KNOWN_DIRECTORIES_MAX = 16384,
	TEMP_AGE_MAX_S = 3600,
	PATH_BYTES = 1024, // a key and a slash fit
	WRITE_PARTS = 64,
};

#define TEMP_DIRECTORY ".tmp"

struct object_store_directory_calls object_store_directory_calls = {fsync, linkat};

// A directory under the root whose entry, and that of each parent, is known to be on disk.
struct known_directory {
	UT_hash_handle hh;
	char path[];
};

struct directory_store {
	struct object_store base;
	struct loop *loop;
	struct loop_fd done_fd; // an eventfd: something is in finished
	struct loop_timer timer;
	uint64_t timer_due_us;
	bool *ret_freed;       // set by free while answers are given
	struct list answering; // taken from finished

	int root_fd;
	uint64_t temp_origin; // random: several processes, also on several hosts, share the directory
	atomic_ulong temp_count;

	pthread_mutex_t mutex; // guards what follows
	pthread_cond_t wake;
	struct list waiting;
	struct list finished;
	size_t waiting_count, idle_count, thread_count;
	bool stopping;
	pthread_t threads[THREADS];

	pthread_mutex_t known_mutex;
	struct known_directory *known;
};

static struct directory_store *directory_of(struct object_store *store)
{
	return container_of(store, struct directory_store, base);
}

static enum error error_of_errno(int number)
{
	switch (number) {
	case ENOENT:
		return ERROR_NOT_FOUND;
	case EEXIST:
		return ERROR_ALREADY_EXISTS;
	case EACCES:
	case EPERM:
	case EROFS:
		return ERROR_PERMISSION;
	case ENAMETOOLONG:
	case ENOTDIR: // a parent of the key is an object
	case EISDIR:  // the key is a parent of objects
		return ERROR_MALFORMED;
	default:
		return ERROR_STORAGE;
	}
}

// ---- Directories

// The directory of a key, "." at the root.
static void parent_of(const char *key, char parent[PATH_BYTES])
{
	const char *slash = strrchr(key, '/');
	if (slash)
		snprintf(parent, PATH_BYTES, "%.*s", (int)(slash - key), key);
	else
		snprintf(parent, PATH_BYTES, ".");
}

static enum error sync_directory(struct directory_store *store, const char *path)
{
	int fd = openat(store->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return error_of_errno(errno);
	enum error error = object_store_directory_calls.fsync(fd) == 0 ? ERROR_OK : ERROR_STORAGE;
	close(fd);
	return error;
}

static bool directory_known(struct directory_store *store, const char *path)
{
	struct known_directory *known;
	pthread_mutex_lock(&store->known_mutex);
	HASH_FIND_STR(store->known, path, known);
	pthread_mutex_unlock(&store->known_mutex);
	return known != NULL;
}

static void forget_directories(struct directory_store *store)
{
	struct known_directory *known, *next;
	HASH_ITER(hh, store->known, known, next)
	{
		HASH_DEL(store->known, known);
		free(known);
	}
}

static void remember_directory(struct directory_store *store, const char *path)
{
	struct known_directory *known;
	pthread_mutex_lock(&store->known_mutex);
	HASH_FIND_STR(store->known, path, known);
	if (!known) {
		if (HASH_COUNT(store->known) >= KNOWN_DIRECTORIES_MAX)
			forget_directories(store);
		size_t len = strlen(path);
		known = memory_alloc(sizeof *known + len + 1);
		memcpy(known->path, path, len + 1);
		HASH_ADD_KEYPTR(hh, store->known, known->path, len, known);
	}
	pthread_mutex_unlock(&store->known_mutex);
}

// Somebody else may have made a directory and not synced it yet: what is not known is synced, made or found.
static enum error make_directory(struct directory_store *store, const char *path)
{
	if (directory_known(store, path))
		return ERROR_OK;
	if (mkdirat(store->root_fd, path, 0777) != 0 && errno != EEXIST)
		return error_of_errno(errno);
	char parent[PATH_BYTES];
	parent_of(path, parent);
	enum error error = sync_directory(store, parent);
	if (!error)
		remember_directory(store, path);
	return error;
}

static enum error make_parents(struct directory_store *store, const char *key)
{
	char path[PATH_BYTES];
	snprintf(path, sizeof path, "%s", key);
	enum error error = ERROR_OK;
	for (char *slash = strchr(path, '/'); slash && !error; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		error = make_directory(store, path);
		*slash = '/';
	}
	return error;
}

// ---- Put

static int write_parts(int fd, const struct slice *parts, size_t count)
{
	size_t part = 0, skip = 0; // bytes of parts[part] already written
	while (part < count) {
		struct iovec vectors[WRITE_PARTS];
		int used = 0;
		for (size_t i = part; i < count && used < WRITE_PARTS; i++, used++) {
			size_t done = i == part ? skip : 0;
			vectors[used] = (struct iovec){(uint8_t *)(uintptr_t)parts[i].data + done, parts[i].len - done};
		}
		ssize_t written = writev(fd, vectors, used);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno;
		for (skip += (size_t)written; part < count && skip >= parts[part].len; part++)
			skip -= parts[part].len;
	}
	return 0;
}

// Whole and on disk, but under a name that nobody reads.
static enum error write_temp(struct directory_store *store, const char *temp, const struct object_request *request)
{
	int fd = openat(store->root_fd, temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
	if (fd < 0)
		return errno == ENOENT ? ERROR_STORAGE : error_of_errno(errno);
	int number = write_parts(fd, request->parts, request->part_count);
	enum error error = number ? error_of_errno(number) : ERROR_OK;
	if (!error && object_store_directory_calls.fsync(fd) != 0)
		error = ERROR_STORAGE;
	if (close(fd) != 0 && !error)
		error = ERROR_STORAGE;
	return error;
}

static enum error publish(struct directory_store *store, const char *temp, const struct object_request *request)
{
	int root = store->root_fd;
	int failed = request->if_absent ? object_store_directory_calls.link(root, temp, root, request->key, 0)
					: renameat(root, temp, root, request->key);
	enum error error = failed ? error_of_errno(errno) : ERROR_OK;
	if (error && error != ERROR_ALREADY_EXISTS)
		return error;
	char parent[PATH_BYTES];
	parent_of(request->key, parent);
	enum error sync_error = sync_directory(store, parent);
	return sync_error ? ERROR_STORAGE : error;
}

static enum error execute_put(struct directory_store *store, struct object_request *request)
{
	char temp[64];
	snprintf(temp, sizeof temp, TEMP_DIRECTORY "/%016llx-%lu", (unsigned long long)store->temp_origin,
		atomic_fetch_add(&store->temp_count, 1));
	enum error error = write_temp(store, temp, request);
	if (!error)
		error = make_parents(store, request->key);
	if (!error)
		error = publish(store, temp, request);
	if (error == ERROR_NOT_FOUND) { // someone removed a directory that we knew
		pthread_mutex_lock(&store->known_mutex);
		forget_directories(store);
		pthread_mutex_unlock(&store->known_mutex);
		error = make_parents(store, request->key);
		if (!error)
			error = publish(store, temp, request);
	}
	// The temp file is gone after a rename; whatever else happened, it must not stay.
	(void)unlinkat(store->root_fd, temp, 0);
	return error == ERROR_NOT_FOUND ? ERROR_STORAGE : error;
}

// ---- Get and head

// A directory is no object.
static enum error stat_object(int result, const struct stat *stat)
{
	if (result != 0)
		return errno == ENOTDIR ? ERROR_NOT_FOUND : error_of_errno(errno);
	return S_ISREG(stat->st_mode) ? ERROR_OK : ERROR_NOT_FOUND;
}

static enum error read_at(int fd, uint64_t position, uint8_t *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = pread(fd, data + done, len - done, (off_t)(position + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0) // objects never shrink
			return ERROR_STORAGE;
		done += (size_t)got;
	}
	return ERROR_OK;
}

static enum error read_object(int fd, struct object_request *request)
{
	struct stat stat;
	size_t len;
	enum error error = stat_object(fstat(fd, &stat), &stat);
	if (!error)
		error = object_request_extent(request, (uint64_t)stat.st_size, &len);
	if (error)
		return error;
	struct block *block = block_new(len);
	error = read_at(fd, request->position, block->data, len);
	if (error)
		block_unref(&block);
	else
		request->bytes = slice_take(&block);
	return error;
}

static enum error execute_get(struct directory_store *store, struct object_request *request)
{
	int fd = openat(store->root_fd, request->key, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOTDIR ? ERROR_NOT_FOUND : error_of_errno(errno);
	enum error error = read_object(fd, request);
	close(fd);
	return error;
}

static enum error execute_head(struct directory_store *store, struct object_request *request)
{
	struct stat stat;
	enum error error = stat_object(fstatat(store->root_fd, request->key, &stat, 0), &stat);
	if (!error)
		request->size = (uint64_t)stat.st_size;
	return error;
}

// ---- List

// Names of one directory; those of directories end in a slash, so that they sort as their keys do: "a-b" before "a/".
struct names {
	char **names;
	size_t count, capacity;
};

static void names_add(struct names *names, const char *name, bool is_directory)
{
	if (names->count == names->capacity) {
		names->capacity = names->capacity ? 2 * names->capacity : 64;
		names->names = memory_realloc(names->names, names->capacity * sizeof *names->names);
	}
	size_t len = strlen(name);
	char *copy = memory_zalloc(len + 2);
	memcpy(copy, name, len);
	if (is_directory)
		copy[len] = '/';
	names->names[names->count++] = copy;
}

static int names_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_done(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->names[i]);
	free(names->names);
}

static bool starts_with(const char *text, const char *start)
{
	return strncmp(text, start, strlen(start)) == 0;
}

// Whether a page may need path: an object's key, or a directory with its slash.
static bool list_wants(const struct object_request *request, const char *path, bool is_directory)
{
	const char *prefix = request->key;
	if (!is_directory)
		return starts_with(path, prefix) && strcmp(path, request->after) > 0;
	if (!starts_with(path, prefix) && !starts_with(prefix, path))
		return false;
	return strcmp(path, request->after) > 0 || starts_with(request->after, path);
}

static bool is_directory(int fd, const struct dirent *entry)
{
	struct stat stat;
	if (entry->d_type != DT_UNKNOWN)
		return entry->d_type == DT_DIR;
	return fstatat(fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(stat.st_mode);
}

// What a listing of path (empty or with its slash) needs, in order. A directory that is not there is empty.
static enum error names_read(
	struct directory_store *store, const struct object_request *request, const char *path, struct names *names)
{
	int fd = openat(store->root_fd, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ERROR_OK : error_of_errno(errno);
	DIR *directory = fdopendir(fd);
	CHECK(directory != NULL);
	struct dirent *entry;
	while (errno = 0, (entry = readdir(directory))) {
		char full[PATH_BYTES + 256];
		if (entry->d_name[0] == '.')
			continue;
		bool directory_entry = is_directory(fd, entry);
		int len = snprintf(full, sizeof full, "%s%s%s", path, entry->d_name, directory_entry ? "/" : "");
		if (len < PATH_BYTES && list_wants(request, full, directory_entry))
			names_add(names, entry->d_name, directory_entry);
	}
	enum error error = errno ? error_of_errno(errno) : ERROR_OK;
	closedir(directory);
	if (names->count)
		qsort(names->names, names->count, sizeof *names->names, names_order);
	return error;
}

// False once the page is full.
static bool list_object(struct directory_store *store, struct object_request *request, const char *key)
{
	struct stat stat;
	if (fstatat(store->root_fd, key, &stat, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(stat.st_mode))
		return true; // deleted since, or not ours
	int64_t modified_ms = (int64_t)stat.st_mtim.tv_sec * 1000 + stat.st_mtim.tv_nsec / 1000000;
	return object_request_found(request, key, (uint64_t)stat.st_size, modified_ms);
}

// path is extended in place, and restored. Depth is bounded by the length of a key.
static enum error list_directory(struct directory_store *store, struct object_request *request, char path[PATH_BYTES])
{
	struct names names = {0};
	size_t len = strlen(path);
	enum error error = names_read(store, request, path, &names);
	for (size_t i = 0; i < names.count && !error && !request->more; i++) {
		size_t name_len = strlen(names.names[i]);
		memcpy(path + len, names.names[i], name_len + 1);
		if (names.names[i][name_len - 1] == '/')
			error = list_directory(store, request, path);
		else
			(void)list_object(store, request, path);
		path[len] = '\0';
	}
	names_done(&names);
	return error;
}

static enum error execute_list(struct directory_store *store, struct object_request *request)
{
	char path[PATH_BYTES];
	const char *slash = strrchr(request->key, '/');
	snprintf(path, sizeof path, "%.*s", slash ? (int)(slash + 1 - request->key) : 0, request->key);
	return list_directory(store, request, path);
}

// ---- Delete

static int keys_order(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum error unlink_all(struct directory_store *store, const struct object_request *request)
{
	enum error first_error = ERROR_OK;
	for (size_t i = 0; i < request->key_count; i++) {
		if (unlinkat(store->root_fd, request->keys[i], 0) == 0)
			continue;
		bool absent = errno == ENOENT || errno == ENOTDIR || errno == EISDIR;
		if (!absent && !first_error)
			first_error = error_of_errno(errno);
	}
	return first_error;
}

// Each directory is synced once, also where a key was absent: the delete before may have failed in its sync.
static enum error execute_delete(struct directory_store *store, struct object_request *request)
{
	enum error first_error = unlink_all(store, request);
	qsort(request->keys, request->key_count, sizeof *request->keys, keys_order);
	char synced[PATH_BYTES] = "";
	for (size_t i = 0; i < request->key_count; i++) {
		char parent[PATH_BYTES];
		parent_of(request->keys[i], parent);
		if (strcmp(parent, synced) == 0)
			continue;
		snprintf(synced, sizeof synced, "%s", parent);
		enum error error = sync_directory(store, parent);
		bool absent = error == ERROR_NOT_FOUND || error == ERROR_MALFORMED;
		if (error && !absent && !first_error)
			first_error = error;
	}
	return first_error;
}

// ---- Threads

static void execute(struct directory_store *store, struct object_request *request)
{
	static enum error (*const executes[])(struct directory_store * store, struct object_request * request) = {
		[OBJECT_PUT] = execute_put,
		[OBJECT_GET] = execute_get,
		[OBJECT_HEAD] = execute_head,
		[OBJECT_LIST] = execute_list,
		[OBJECT_DELETE] = execute_delete,
	};
	if (!request->error)
		request->error = executes[request->kind](store, request);
}

static void signal_finished(struct directory_store *store)
{
	uint64_t one = 1;
	CHECK(write(store->done_fd.fd, &one, sizeof one) == sizeof one);
}

static void *thread_run(void *ctx)
{
	struct directory_store *store = ctx;
	pthread_mutex_lock(&store->mutex);
	for (;;) {
		store->idle_count++;
		while (list_empty(&store->waiting) && !store->stopping)
			pthread_cond_wait(&store->wake, &store->mutex);
		store->idle_count--;
		if (store->stopping)
			break;
		struct object_request *request = container_of(list_pop(&store->waiting), struct object_request, link);
		store->waiting_count--;
		pthread_mutex_unlock(&store->mutex);
		execute(store, request);
		pthread_mutex_lock(&store->mutex);
		bool first = list_empty(&store->finished);
		list_append(&store->finished, &request->link);
		if (first)
			signal_finished(store);
	}
	pthread_mutex_unlock(&store->mutex);
	return NULL;
}

// Signals are for the loop's thread.
static void thread_start(struct directory_store *store)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	sigfillset(&all);
	CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
	CHECK(pthread_attr_init(&attributes) == 0);
	CHECK(pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES) == 0);
	CHECK(pthread_create(&store->threads[store->thread_count], &attributes, thread_run, store) == 0);
	store->thread_count++;
	pthread_attr_destroy(&attributes);
	CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

static void arm_timer(struct directory_store *store, uint64_t due_us)
{
	if (due_us >= store->timer_due_us)
		return;
	store->timer_due_us = due_us;
	loop_timer_set(store->loop, &store->timer, due_us);
}

static void directory_enqueue(struct directory_store *store, struct object_request *request)
{
	arm_timer(store, request->deadline_us);
	pthread_mutex_lock(&store->mutex);
	list_append(&store->waiting, &request->link);
	store->waiting_count++;
	if (store->waiting_count > store->idle_count && store->thread_count < THREADS)
		thread_start(store);
	pthread_cond_signal(&store->wake);
	pthread_mutex_unlock(&store->mutex);
}

// ---- Answers, in the loop's thread

// False: a callback has freed the store.
static bool answer_taken(struct directory_store *store)
{
	bool freed = false;
	struct list *link;
	store->ret_freed = &freed;
	while (!freed && (link = list_pop(&store->answering))) {
		struct object_request *request = container_of(link, struct object_request, link);
		object_request_answer(&request);
	}
	if (!freed)
		store->ret_freed = NULL;
	return !freed;
}

static void take_finished(struct directory_store *store)
{
	struct list *link;
	pthread_mutex_lock(&store->mutex);
	while ((link = list_pop(&store->finished)))
		list_append(&store->answering, link);
	pthread_mutex_unlock(&store->mutex);
}

static void done_ready(struct loop_fd *done_fd, uint32_t events)
{
	struct directory_store *store = container_of(done_fd, struct directory_store, done_fd);
	uint64_t ignored;
	(void)events;
	CHECK(read(done_fd->fd, &ignored, sizeof ignored) == sizeof ignored || errno == EAGAIN);
	take_finished(store);
	(void)answer_taken(store);
}

// Moves what waits past its deadline to answering; returns the next deadline.
static uint64_t take_expired(struct directory_store *store, uint64_t now_us)
{
	uint64_t next_us = DEADLINE_NEVER;
	pthread_mutex_lock(&store->mutex);
	LIST_EACH (&store->waiting, link) {
		struct object_request *request = container_of(link, struct object_request, link);
		if (request->deadline_us > now_us) {
			next_us = deadline_min(next_us, request->deadline_us);
			continue;
		}
		list_remove(link);
		store->waiting_count--;
		request->error = ERROR_TIMED_OUT;
		list_append(&store->answering, link);
	}
	pthread_mutex_unlock(&store->mutex);
	return next_us;
}

static void timer_due(struct loop_timer *timer)
{
	struct directory_store *store = container_of(timer, struct directory_store, timer);
	store->timer_due_us = DEADLINE_NEVER;
	arm_timer(store, take_expired(store, loop_env(store->loop)->now_us));
	(void)answer_taken(store);
}

// ---- The store

static void directory_put(struct object_store *base, const char *key, const struct slice *parts, size_t part_count,
	bool if_absent, uint32_t timeout_ms, object_put_fn fn, void *ctx)
{
	struct directory_store *store = directory_of(base);
	directory_enqueue(
		store, object_request_put(base, loop_env(store->loop), key, parts, part_count, if_absent, timeout_ms, fn, ctx));
}

static void directory_get(struct object_store *base, const char *key, uint64_t position, uint64_t len, uint32_t timeout_ms,
	object_get_fn fn, void *ctx)
{
	struct directory_store *store = directory_of(base);
	directory_enqueue(store, object_request_get(base, loop_env(store->loop), key, position, len, timeout_ms, fn, ctx));
}

static void directory_head(struct object_store *base, const char *key, uint32_t timeout_ms, object_head_fn fn, void *ctx)
{
	struct directory_store *store = directory_of(base);
	directory_enqueue(store, object_request_head(base, loop_env(store->loop), key, timeout_ms, fn, ctx));
}

static void directory_list(struct object_store *base, const char *prefix, const char *after, size_t max, uint32_t timeout_ms,
	object_list_fn fn, void *ctx)
{
	struct directory_store *store = directory_of(base);
	directory_enqueue(store, object_request_list(base, loop_env(store->loop), prefix, after, max, timeout_ms, fn, ctx));
}

static void directory_delete_many(
	struct object_store *base, const char *const *keys, size_t count, uint32_t timeout_ms, object_delete_fn fn, void *ctx)
{
	struct directory_store *store = directory_of(base);
	directory_enqueue(store, object_request_delete(base, loop_env(store->loop), keys, count, timeout_ms, fn, ctx));
}

static void stop_threads(struct directory_store *store)
{
	pthread_mutex_lock(&store->mutex);
	store->stopping = true;
	pthread_cond_broadcast(&store->wake);
	pthread_mutex_unlock(&store->mutex);
	for (size_t i = 0; i < store->thread_count; i++)
		CHECK(pthread_join(store->threads[i], NULL) == 0);
}

static void directory_free(struct object_store *base)
{
	struct directory_store *store = directory_of(base);
	stop_threads(store);
	take_finished(store);
	struct list *link;
	while ((link = list_pop(&store->waiting))) {
		container_of(link, struct object_request, link)->error = ERROR_CANCELED;
		list_append(&store->answering, link);
	}
	if (store->ret_freed)
		*store->ret_freed = true;
	(void)answer_taken(store);
	loop_timer_clear(store->loop, &store->timer);
	loop_fd_remove(store->loop, &store->done_fd);
	close(store->done_fd.fd);
	close(store->root_fd);
	forget_directories(store);
	pthread_mutex_destroy(&store->known_mutex);
	pthread_mutex_destroy(&store->mutex);
	pthread_cond_destroy(&store->wake);
	free(store);
}

static const struct object_store_ops directory_ops = {
	.put = directory_put,
	.get = directory_get,
	.head = directory_head,
	.list = directory_list,
	.delete_many = directory_delete_many,
	.free = directory_free,
};

// ---- Opening

static enum error open_failed(const char *doing, const char *path, int number, char reason[256])
{
	enum error error = error_of_errno(number);
	snprintf(reason, 256, "cannot %s %s: %s", doing, path, strerror(number));
	return error == ERROR_PERMISSION ? error : ERROR_STORAGE;
}

// Makes path and what is missing above it, durably.
static enum error make_root(const char *path, char reason[256])
{
	char *made = memory_strdup(path);
	enum error error = ERROR_OK;
	for (char *slash = made; slash && !error;) {
		slash = strchr(slash + 1, '/');
		if (slash)
			*slash = '\0';
		if (mkdir(made, 0777) == 0) {
			char *last = strrchr(made, '/');
			*last = '\0';
			int fd = open(*made ? made : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (fd < 0 || fsync(fd) != 0)
				error = open_failed("sync", *made ? made : "/", errno, reason);
			if (fd >= 0)
				close(fd);
			*last = '/';
		} else if (errno != EEXIST && (!slash || errno != EROFS)) {
			error = open_failed("make directory", made, errno, reason);
		}
		if (slash)
			*slash = '/';
	}
	free(made);
	return error;
}

static void sweep_temp(int root_fd)
{
	int fd = openat(root_fd, TEMP_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	if (!directory)
		return;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	struct dirent *entry;
	struct stat stat;
	while ((entry = readdir(directory)))
		if (fstatat(fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(stat.st_mode) &&
			stat.st_mtim.tv_sec < now.tv_sec - TEMP_AGE_MAX_S)
			(void)unlinkat(fd, entry->d_name, 0);
	closedir(directory);
}

// Whether files can be made there; a read-only mount says so only now.
static enum error probe_temp(int root_fd, const char *root, uint64_t origin, char reason[256])
{
	if (mkdirat(root_fd, TEMP_DIRECTORY, 0777) != 0 && errno != EEXIST)
		return open_failed("write in", root, errno, reason);
	char temp[64];
	snprintf(temp, sizeof temp, TEMP_DIRECTORY "/%016llx-probe", (unsigned long long)origin);
	int fd = openat(root_fd, temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
	if (fd < 0)
		return open_failed("write in", root, errno, reason);
	close(fd);
	(void)unlinkat(root_fd, temp, 0);
	return ERROR_OK;
}

static void directory_start(struct directory_store *store, struct loop *loop)
{
	store->base.ops = &directory_ops;
	store->loop = loop;
	store->timer.on_due = timer_due;
	store->timer_due_us = DEADLINE_NEVER;
	list_init(&store->answering);
	list_init(&store->waiting);
	list_init(&store->finished);
	CHECK(pthread_mutex_init(&store->mutex, NULL) == 0);
	CHECK(pthread_mutex_init(&store->known_mutex, NULL) == 0);
	CHECK(pthread_cond_init(&store->wake, NULL) == 0);
	store->done_fd.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	store->done_fd.events = EPOLLIN;
	store->done_fd.on_ready = done_ready;
	CHECK(store->done_fd.fd >= 0);
	loop_fd_add(loop, &store->done_fd);
}

enum error object_store_directory_new(const char *root, struct loop *loop, struct object_store **ret_store, char reason[256])
{
	enum error error = make_root(root, reason);
	if (error)
		return error;
	int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return open_failed("open", root, errno, reason);
	uint64_t origin;
	CHECK(getrandom(&origin, sizeof origin, 0) == sizeof origin);
	error = probe_temp(root_fd, root, origin, reason);
	if (error) {
		close(root_fd);
		return error;
	}
	sweep_temp(root_fd);
	struct directory_store *store = memory_zalloc(sizeof *store);
	store->root_fd = root_fd;
	store->temp_origin = origin;
	directory_start(store, loop);
	*ret_store = &store->base;
	return ERROR_OK;
}
