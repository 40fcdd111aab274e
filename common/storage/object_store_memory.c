#include "common/storage/object_store_memory.h"
