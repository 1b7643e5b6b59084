/*
 * Pigeonhole's compile and run, measured within its own sieve-test(1): preloaded
 * into it, this does each of both as often as told, and prints the medians of
 * the thread's CPU time in nanoseconds to standard error.  What sieve-test does
 * before, after and between is not counted, nor is the printing of a result,
 * which is a part of sieve_test() but of no delivery.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ROUNDS 100

static long long times[ROUNDS];
static long long printing;

static long long
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int
earlier(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

static void
print_median(const char *what)
{
	qsort(times, ROUNDS, sizeof(times[0]), earlier);
	fprintf(stderr, "median %s %lld\n", what, times[ROUNDS / 2]);
}

void *
sieve_compile(void *instance, const char *location, const char *name, void *handler, int flags,
    int *error)
{
	void *(*compile)(void *, const char *, const char *, void *, int, int *) =
	    dlsym(RTLD_NEXT, "sieve_compile");
	void (*close)(void **) = dlsym(RTLD_NEXT, "sieve_close");
	void *binary = NULL;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (binary != NULL)
			close(&binary);
		times[i] = now();
		binary = compile(instance, location, name, handler, flags, error);
		times[i] = now() - times[i];
		if (binary == NULL)
			return NULL;
	}
	print_median("compile");
	return binary;
}

bool
sieve_result_print(void *result, void *environment, void *stream, bool *keep)
{
	bool (*print)(void *, void *, void *, bool *) = dlsym(RTLD_NEXT, "sieve_result_print");
	long long begun = now();
	bool printed = print(result, environment, stream, keep);

	printing += now() - begun;
	return printed;
}

int
sieve_test(void *binary, void *message, void *environment, void *handler, void *stream, int flags)
{
	int (*test)(void *, void *, void *, void *, void *, int) = dlsym(RTLD_NEXT, "sieve_test");
	int i, result = 0;

	for (i = 0; i < ROUNDS; i++) {
		printing = 0;
		times[i] = now();
		result = test(binary, message, environment, handler, stream, flags);
		times[i] = now() - times[i] - printing;
	}
	print_median("run");
	return result;
}
