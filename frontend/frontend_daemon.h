#pragma once
// The frontend as a daemon: its settings, and how listener, connections and core are put together.

#include "common/runtime/daemon.h"

extern const struct daemon_spec frontend_daemon_spec;
