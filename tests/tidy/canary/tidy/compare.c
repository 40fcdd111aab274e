// Takes strcmp's answer for a truth: clang-tidy must refuse it.
#include <string.h>

int is_topic(const char *name);
int is_topic(const char *name)
{
	return strcmp(name, "topic") == 2;
}
