# The few rules all folders share: warnings, instrumentation, libraries, daemons, unit tests.

set(WEIR_WARNINGS -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror)
set(WEIR_SANITIZE "" CACHE STRING "Sanitizers for everything we compile, such as address,undefined")
option(WEIR_COVERAGE "Count executed lines" OFF)
option(WEIR_FUZZ "Build the libFuzzer targets (clang)" OFF)

if(WEIR_SANITIZE)
  add_compile_options(-fsanitize=${WEIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${WEIR_SANITIZE})
endif()
if(WEIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link) # coverage feedback from the libraries too
endif()
if(WEIR_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(ZMQ REQUIRED IMPORTED_TARGET libzmq)
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(ZLIB REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(ISAL REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(MICROHTTPD REQUIRED IMPORTED_TARGET libmicrohttpd)
find_library(CUNIT_LIBRARY cunit REQUIRED)
find_library(SNAPPY_LIBRARY snappy REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)

# grpc core alone: its .pc names some sixty abseil libraries that a C caller does not need.
find_library(GRPC_LIBRARY grpc REQUIRED)
find_library(GPR_LIBRARY gpr REQUIRED)

# weir_library(name SOURCES ... LINKS ...): a static library that compiles with every warning on.
function(weir_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${WEIR_WARNINGS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LINKS})
endfunction()

# weir_daemon(role LINKS ...): weir-‹role› from main.c and the folder's library.
function(weir_daemon role)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  add_executable(weir-${role} main.c)
  target_compile_options(weir-${role} PRIVATE ${WEIR_WARNINGS})
  target_link_options(weir-${role} PRIVATE -Wl,--as-needed)
  target_link_libraries(weir-${role} PRIVATE ${ARG_LINKS})
endfunction()

# weir_unit_test(name SOURCES ... LINKS ...): one CUnit program, one ctest entry.
function(weir_unit_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_compile_options(${name} PRIVATE ${WEIR_WARNINGS})
  target_link_options(${name} PRIVATE -Wl,--as-needed)
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} ${CUNIT_LIBRARY})
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS unit)
endfunction()

# weir_protobuf(sources_var path.proto ...): protoc-c's C of each file, given by its path from the source root. It lands at the
# same path in the build tree, so proto/control.proto is included as "proto/control.pb-c.h". Call it where the target is made.
function(weir_protobuf sources_var)
  set(sources)
  foreach(proto ${ARGN})
    string(REGEX REPLACE "\\.proto$" ".pb-c" stem ${proto})
    set(generated ${CMAKE_BINARY_DIR}/${stem}.c ${CMAKE_BINARY_DIR}/${stem}.h)
    add_custom_command(
      OUTPUT ${generated}
      COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR} --c_out=${CMAKE_BINARY_DIR} ${CMAKE_SOURCE_DIR}/${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/${proto}
      VERBATIM)
    set_source_files_properties(${generated} PROPERTIES COMPILE_OPTIONS -w)
    list(APPEND sources ${generated})
  endforeach()
  set(${sources_var} ${sources} PARENT_SCOPE)
endfunction()
