#include "common/storage/mixed_object.h"
