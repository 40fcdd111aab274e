// Happy path: a page of entries -> each entry unpacked, gets for its sections sent -> the head of the queue applied when all
// its sections are here -> the next page when the queue has room -> done after the last page.
#include "coordinator/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/crc32c.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/runtime/protobuf.h"
#include "coordinator/shard_state.h"
#include "coordinator/ticket.h"

enum { RANGE_TIMEOUT_MS = 3000, GET_TIMEOUT_MS = 10000, RETRY_MS = 200, COMMANDS_A_STEP = 256 };

struct replay_section {
	struct replay_entry *entry;
	const Weir__CommitSection *commit; // NULL: no section is needed
	struct section section;
	bool here;
	bool asked;
	uint64_t retry_us;
};

struct replay_entry {
	struct list link;
	uint64_t position;
	struct arena arena;
	Weir__LogEntry *entry;
	struct replay_section *sections;
	size_t missing;
};

struct replay {
	struct replay_deps deps;
	char *log_prefix;
	struct list tickets;
	struct list entries;
	size_t entry_count;
	size_t gets;
	uint64_t next_position; // of the next entry to read
	bool reading;
	bool read_all;
	uint64_t read_retry_us;
	size_t page_entries; // asked for at once
	bool damaged;
	struct replay_damage damage;
	uint64_t sections_read;
};

struct section_get {
	struct ticket ticket;
	struct replay_section *section;
};

void log_key(struct buffer *out, const char *log_prefix, uint64_t position)
{
	char digits[LOG_KEY_DIGITS + 1];
	snprintf(digits, sizeof digits, "%016llx", (unsigned long long)position);
	buffer_bytes(out, bytes_of(log_prefix));
	buffer_append(out, digits, LOG_KEY_DIGITS);
}

// False: no object can have that name.
static bool commit_object_key(const Weir__CommitSection *commit, char key[MIXED_OBJECT_KEY_SIZE])
{
	struct mixed_object_id id = {.sequence = commit->sequence, .created_ms = commit->created_ms};
	if (!protobuf_get_uuid(commit->writer, &id.writer) || !mixed_object_created_valid(id.created_ms))
		return false;
	mixed_object_key(&id, key);
	return true;
}

static void replay_set_damaged(struct replay *replay, uint64_t position, const Weir__CommitSection *commit, const char *reason)
{
	if (replay->damaged)
		return;
	replay->damaged = true;
	replay->damage = (struct replay_damage){.position = position, .reason = reason};
	if (commit)
		(void)commit_object_key(commit, replay->damage.object);
}

// Sections.

static void section_arrived(struct replay *replay, struct replay_section *section, struct bytes bytes)
{
	const Weir__CommitSection *commit = section->commit;
	struct replay_entry *entry = section->entry;
	const char *reason = NULL;
	if (bytes.len != commit->section_length)
		reason = "section_short";
	else if (crc32c(0, bytes.data, bytes.len) != commit->section_crc)
		reason = "section_crc";
	else if (section_decode(arena_copy(&entry->arena, bytes), &entry->arena, &section->section) != ERROR_OK)
		reason = "section_malformed";
	if (reason) {
		replay_set_damaged(replay, entry->position, commit, reason);
		return;
	}
	section->here = true;
	entry->missing--;
	replay->sections_read++;
}

static bool get_never_succeeds(enum error error)
{
	return error == ERROR_NOT_FOUND || error == ERROR_OFFSET_OUT_OF_RANGE || error == ERROR_CORRUPT ||
	       error == ERROR_MALFORMED;
}

static void section_got(void *ctx, enum error error, struct slice bytes)
{
	struct section_get *get = ctx;
	struct replay *replay = ticket_take(&get->ticket);
	struct replay_section *section = get->section;
	free(get);
	if (!replay || error == ERROR_CANCELED)
		return;
	replay->gets--;
	section->asked = false;
	if (error == ERROR_OK)
		section_arrived(replay, section, slice_bytes(bytes));
	else if (get_never_succeeds(error))
		replay_set_damaged(replay, section->entry->position, section->commit, error_text(error));
	else
		section->retry_us = deadline_in_ms(replay->deps.env, RETRY_MS);
}

static void section_ask(struct replay *replay, struct replay_section *section)
{
	const Weir__CommitSection *commit = section->commit;
	char key[MIXED_OBJECT_KEY_SIZE];
	if (!commit_object_key(commit, key)) {
		replay_set_damaged(replay, section->entry->position, commit, "object_malformed");
		return;
	}
	struct section_get *get = memory_zalloc(sizeof *get);
	get->section = section;
	section->asked = true;
	replay->gets++;
	ticket_open(&get->ticket, &replay->tickets, replay);
	object_get(
		replay->deps.objects, key, commit->section_position, commit->section_length, GET_TIMEOUT_MS, section_got, get);
}

static void replay_ask_sections(struct replay *replay, uint64_t *next_us)
{
	uint64_t now_us = replay->deps.env->now_us;
	LIST_EACH (&replay->entries, link) {
		struct replay_entry *entry = container_of(link, struct replay_entry, link);
		for (size_t i = 0; entry->missing && i < entry->entry->n_commands; i++) {
			struct replay_section *section = &entry->sections[i];
			if (!section->commit || section->here || section->asked)
				continue;
			if (replay->gets >= REPLAY_GETS_MAX)
				return;
			if (section->retry_us > now_us)
				*next_us = deadline_min(*next_us, section->retry_us);
			else
				section_ask(replay, section);
		}
	}
}

// Entries.

static void entry_free(struct replay *replay, struct replay_entry *entry)
{
	list_remove(&entry->link);
	replay->entry_count--;
	arena_done(&entry->arena);
	free(entry);
}

// Whether this binary knows the rules by which the entry, and what follows it, is applied.
static bool entry_rules_known(const struct replay *replay, const Weir__LogEntry *entry)
{
	for (size_t i = 0; i < entry->n_commands; i++) {
		const Weir__Command *command = entry->commands[i];
		if (command->kind_case == WEIR__COMMAND__KIND_APPLY_VERSION &&
			command->apply_version->version > replay->deps.apply_version_max)
			return false;
	}
	return entry->apply_version <= replay->deps.apply_version_max;
}

static void entry_add(struct replay *replay, struct bytes packed)
{
	struct replay_entry *entry = memory_zalloc(sizeof *entry);
	arena_init(&entry->arena, 0);
	list_init(&entry->link);
	list_append(&replay->entries, &entry->link);
	replay->entry_count++;
	entry->position = replay->next_position++;
	entry->entry = protobuf_unpack(&weir__log_entry__descriptor, packed, &entry->arena);
	if (!entry->entry || !entry_rules_known(replay, entry->entry)) {
		replay_set_damaged(replay, entry->position, NULL, entry->entry ? "apply_version_unknown" : "entry_malformed");
		return;
	}
	entry->sections = arena_alloc(&entry->arena, entry->entry->n_commands * sizeof *entry->sections);
	for (size_t i = 0; i < entry->entry->n_commands; i++) {
		const Weir__Command *command = entry->entry->commands[i];
		struct replay_section *section = &entry->sections[i];
		section->entry = entry;
		if (command->kind_case != WEIR__COMMAND__KIND_COMMIT || command->commit->refused_too_old)
			continue;
		section->commit = command->commit;
		entry->missing++;
		if (command->commit->inline_section.len)
			section_arrived(replay, section, protobuf_view(command->commit->inline_section));
	}
}

static bool log_position(struct bytes key, uint64_t *ret_position)
{
	uint64_t position = 0;
	if (key.len < LOG_KEY_DIGITS)
		return false;
	for (size_t i = key.len - LOG_KEY_DIGITS; i < key.len; i++) {
		const char *digits = "0123456789abcdef";
		const char *digit = key.data[i] ? strchr(digits, key.data[i]) : NULL;
		if (!digit)
			return false;
		position = position << 4 | (uint64_t)(digit - digits);
	}
	*ret_position = position;
	return true;
}

// Entries may be so large that a page of them is more than the store answers with; a single one never is.
static void page_failed(struct replay *replay, enum error error)
{
	if (error == ERROR_TOO_LARGE && replay->page_entries > 1)
		replay->page_entries /= 2;
	else
		replay->read_retry_us = deadline_in_ms(replay->deps.env, RETRY_MS);
}

static void page_read(void *ctx, enum error error, const struct metadata_row *rows, size_t count, bool more, int64_t revision)
{
	struct ticket *ticket = ctx;
	struct replay *replay = ticket_take(ticket);
	(void)revision;
	free(ticket);
	if (!replay || error == ERROR_CANCELED)
		return;
	replay->reading = false;
	if (error != ERROR_OK) {
		page_failed(replay, error);
		return;
	}
	for (size_t i = 0; i < count && !replay->damaged; i++) {
		uint64_t position;
		if (!log_position(rows[i].key, &position) || position != replay->next_position)
			replay_set_damaged(replay, replay->next_position, NULL, "entry_missing");
		else
			entry_add(replay, rows[i].value);
	}
	replay->read_all = !more;
}

static void replay_read_page(struct replay *replay)
{
	struct buffer key;
	struct arena arena;
	arena_init(&arena, 0);
	buffer_init(&key, SIZE_MAX);
	log_key(&key, replay->log_prefix, replay->next_position);
	struct ticket *ticket = memory_zalloc(sizeof *ticket);
	ticket_open(ticket, &replay->tickets, replay);
	replay->reading = true;
	metadata_range(replay->deps.metadata, buffer_view(&key), metadata_prefix_end(bytes_of(replay->log_prefix), &arena),
		replay->page_entries, RANGE_TIMEOUT_MS, page_read, ticket);
	buffer_done(&key);
	arena_done(&arena);
}

static void entry_apply(struct replay *replay, struct replay_entry *entry)
{
	size_t count = entry->entry->n_commands;
	const struct section **sections = arena_alloc(&entry->arena, count * sizeof *sections);
	for (size_t i = 0; i < count; i++)
		sections[i] = entry->sections[i].here ? &entry->sections[i].section : NULL;
	replay->deps.apply(replay->deps.ctx, entry->position, entry->entry, sections);
	entry_free(replay, entry);
}

// False: there is more to do at once.
static bool replay_apply_head(struct replay *replay)
{
	size_t commands = 0;
	while (!list_empty(&replay->entries)) {
		struct replay_entry *entry = container_of(replay->entries.next, struct replay_entry, link);
		if (entry->missing)
			return true;
		if (commands > COMMANDS_A_STEP)
			return false;
		commands += entry->entry->n_commands;
		entry_apply(replay, entry);
	}
	return true;
}

enum replay_status replay_step(struct replay *replay, uint64_t *ret_next_us)
{
	uint64_t now_us = replay->deps.env->now_us;
	*ret_next_us = DEADLINE_NEVER;
	if (replay->damaged)
		return REPLAY_DAMAGED;
	if (!replay_apply_head(replay))
		*ret_next_us = 0;
	if (replay->read_all && list_empty(&replay->entries))
		return REPLAY_DONE;
	bool room = replay->entry_count + REPLAY_PAGE_ENTRIES <= REPLAY_ENTRIES_MAX;
	if (!replay->read_all && !replay->reading && room) {
		if (replay->read_retry_us > now_us)
			*ret_next_us = deadline_min(*ret_next_us, replay->read_retry_us);
		else
			replay_read_page(replay);
	}
	replay_ask_sections(replay, ret_next_us);
	return replay->damaged ? REPLAY_DAMAGED : REPLAY_RUNNING;
}

struct replay *replay_new(const struct replay_deps *deps, uint64_t first_position)
{
	struct replay *replay = memory_zalloc(sizeof *replay);
	replay->deps = *deps;
	replay->log_prefix = memory_strdup(deps->log_prefix);
	replay->next_position = first_position;
	replay->page_entries = REPLAY_PAGE_ENTRIES;
	list_init(&replay->tickets);
	list_init(&replay->entries);
	return replay;
}

void replay_free(struct replay **pointer)
{
	struct replay *replay = *pointer;
	*pointer = NULL;
	if (!replay)
		return;
	tickets_abandon(&replay->tickets);
	while (!list_empty(&replay->entries))
		entry_free(replay, container_of(replay->entries.next, struct replay_entry, link));
	free(replay->log_prefix);
	free(replay);
}

uint64_t replay_position(const struct replay *replay)
{
	return replay->next_position;
}

const struct replay_damage *replay_damage(const struct replay *replay)
{
	return &replay->damage;
}

uint64_t replay_sections_read(const struct replay *replay)
{
	return replay->sections_read;
}
