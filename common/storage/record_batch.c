#include "common/storage/record_batch.h"
