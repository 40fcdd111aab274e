#pragma once
// CHECK: our own bug, not the world's. It aborts in release builds too, because going on with a broken invariant is how acked
// records get lost. Never use it on bytes that came from a client, the store or etcd: those are errors (error.h).

#include <stdnoreturn.h>

noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(expression) ((expression) ? (void)0 : check_failed(__FILE__, __LINE__, #expression))
