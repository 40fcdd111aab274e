#include "common/storage/object_store.h"
