// Uses what may be NULL: clang-tidy must refuse it.
#include <stdlib.h>

int first_of(size_t count);
int first_of(size_t count)
{
	int *values = malloc(count * sizeof *values);
	values[0] = 1;
	return *(int *)0 + values[0];
}
