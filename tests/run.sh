# The suites behind `./run test`, sourced by it. Each check is one line "ok" or "FAIL"; the closing line counts them.

passed=0 failed=0
test_logs=$here/build/test-logs

# check NAME COMMAND...: runs it, keeps its output, shows the end of it on failure.
check() {
	local name=$1 log=$test_logs/${1//[ \/]/-}.log started=$SECONDS
	shift
	if "$@" >"$log" 2>&1; then
		passed=$((passed + 1))
		say "ok    $name ($((SECONDS - started)) s)"
	else
		failed=$((failed + 1))
		say "FAIL  $name ($((SECONDS - started)) s); the end of $log:"
		tail -n 40 "$log" | sed 's/^/      /'
	fi
}

# check_canary NAME COMMAND...: a gate that lets its canary pass is no gate.
check_canary() {
	local name=$1
	shift
	check "$name catches its canary" refuses "$@"
}
refuses() { ! "$@"; }

# The tests of one build, each counted.
check_ctest() {
	local preset=$1 label=$2 log=$test_logs/$1-$2.log line
	if ! build "$preset" >"$test_logs/build-$preset.log" 2>&1; then
		failed=$((failed + 1))
		say "FAIL  build $preset"
		grep -E 'error|warning|FAILED' "$test_logs/build-$preset.log" | head -n 20 | sed 's/^/      /'
		return
	fi
	ctest --test-dir "build/$preset" -L "$label" --no-tests=error --output-on-failure -j 2 >"$log" 2>&1 || true
	while read -r line; do
		case $line in
		*" Passed "*) passed=$((passed + 1)) ;;
		*"***"*)
			failed=$((failed + 1))
			say "FAIL  $preset: ${line}"
			;;
		esac
	done < <(grep -E '^ *[0-9]+/[0-9]+ Test +#' "$log")
	if ! grep -q 'tests passed' "$log"; then
		failed=$((failed + 1))
		say "FAIL  ctest $preset ran no test"
	fi
	say "$(grep -E 'tests passed' "$log" || true) ($preset $label)"
	grep -q '100% tests passed' "$log" || { grep -vE '^ *[0-9]+/[0-9]+ Test +#.*Passed' "$log" | tail -n 80 | sed 's/^/      /'; }
}

c_files() { git ls-files --cached --others --exclude-standard '*.c' '*.h' | grep -v '^tests/tidy/canary/'; }

format_gate() { clang-format --dry-run -Werror "$@"; }
layering_gate() { python3 tests/tidy/layering.py "$1"; }
warnings_gate() { gcc -std=c17 -D_GNU_SOURCE -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror "$1"; }
tidy_gate() { clang-tidy --quiet "$1" -- -std=c17 -D_GNU_SOURCE -I.; }
tidy_tree() {
	git ls-files '*.c' | grep -E '^(common|frontend|writer|reader|coordinator)/' | xargs -P 2 -n 4 clang-tidy --quiet -p build/clang
}

suite_gates() {
	# shellcheck disable=SC2046
	check "format" format_gate $(c_files)
	check_canary "format" format_gate tests/tidy/canary/format/crooked.c
	check "layering" layering_gate .
	check_canary "layering" layering_gate tests/tidy/canary/layering
	check "clang builds without warnings" build clang
	check_canary "warnings" warnings_gate tests/tidy/canary/warnings/narrowing.c
	check "clang-tidy" tidy_tree
	check_canary "clang-tidy" tidy_gate tests/tidy/canary/tidy/compare.c
}

suite_unit() { check_ctest dev unit; }
suite_asan() { check_ctest asan unit; }
suite_tsan() {
	export TSAN_OPTIONS="suppressions=$here/tests/unit/tsan.suppressions"
	check_ctest tsan unit
}

# Each fuzzer searches for a minute from its kept corpus; what it finds beyond stays in the build tree.
suite_fuzz() {
	check "fuzz build" build fuzz
	local corpus name
	for corpus in tests/fuzz/*_corpus; do
		name=$(basename "$corpus" _corpus)
		mkdir -p "build/fuzz/found/$name"
		check "fuzz $name" "build/fuzz/bin/fuzz_$name" -max_total_time=60 -print_final_stats=1 "-artifact_prefix=build/fuzz/found/$name-" \
			"build/fuzz/found/$name" "$corpus"
	done
}
suite_k8s() { check "k8s renders" python3 tests/e2e/k8s_render.py; }

# Real clients against real processes; each script starts its own cluster and ends with 0 or says what is wrong.
suite_e2e() {
	check "release build" build release
	local script
	for script in tests/e2e/core_*.py; do check "e2e $(basename "$script" .py)" /usr/bin/python3 "$script"; done
}
suite_clients() {
	command -v mvn >/dev/null && command -v javac >/dev/null || deps maven default-jdk-headless
	command -v npm >/dev/null || deps nodejs npm
	deps python3-venv
	check "release build" build release
	local script
	for script in tests/e2e/clients_*.py; do check "clients $(basename "$script" .py)" /usr/bin/python3 "$script"; done
	/usr/bin/python3 tests/e2e/clients/features.py
}

run_tests() {
	local suite
	mkdir -p "$test_logs"
	[ $# -gt 0 ] || set -- gates unit asan k8s e2e
	for suite in "$@"; do
		[ "$(type -t "suite_$suite")" = function ] || die "no suite '$suite'"
		step "$suite"
		"suite_$suite"
	done
	say "$passed passed, $failed failed"
	[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
