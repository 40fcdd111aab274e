#pragma once
// weir-coordinator: the settings table, and how the core is hung into the daemon skeleton.

#include "common/runtime/daemon.h"

extern const struct daemon_spec coordinator_daemon_spec;
