// A frontend that reaches into the writer: the layering gate must refuse it.
#include "writer/batching.h"
