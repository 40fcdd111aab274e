#include "common/base/check.h"

#include <stdio.h>
#include <stdlib.h>

noreturn void check_failed(const char *file, int line, const char *expression)
{
	fprintf(stderr, "level=fatal event=check_failed file=%s line=%d expression=\"%s\"\n", file, line, expression);
	abort();
}
