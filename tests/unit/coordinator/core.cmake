# The core without a world, and with one: memory stores and a bus in memory.
weir_unit_test(test_partition_index SOURCES test_partition_index.c LINKS weir_coordinator)
weir_unit_test(test_shard_state SOURCES test_shard_state.c LINKS weir_coordinator)
add_library(weir_coordinator_world STATIC coordinator_world.c ${CMAKE_SOURCE_DIR}/tests/support/bus_memory.c)
target_compile_options(weir_coordinator_world PRIVATE ${WEIR_WARNINGS})
target_link_libraries(weir_coordinator_world PUBLIC weir_coordinator)
foreach(part commit takeover topics versions chaos)
  weir_unit_test(test_coordinator_${part} SOURCES test_coordinator_${part}.c LINKS weir_coordinator_world)
endforeach()
