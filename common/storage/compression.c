#include "common/storage/compression.h"
