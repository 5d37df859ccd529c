/*
 * Lets libseccomp compile rules: standard input to a raw filter on standard output. Each line is one of
 *
 *     default ACTION          first, the return value where no rule matches
 *     arch TOKEN              one more architecture; the first such line replaces the native one
 *     optimize LEVEL
 *     rule ID ACTION NAME [ARG OPERATOR VALUE VALUE]...
 *     number TOKEN NAME
 *     name TOKEN NUMBER
 *
 * with all numbers in C's notation. On standard error stands a line "rule ID ERRNO" for each rule that
 * libseccomp refuses, which is left out, and what is asked for: a line "number TOKEN NAME NUMBER" each, and a
 * line "name TOKEN NUMBER NAME", where "-" is that there is none.
 */
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE 4096
#define MAX_ARGS 32

static void fail(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(2);
}

static unsigned long long number(void)
{
	const char *word = strtok(NULL, " \n");
	if (!word)
		fail("a number is missing");
	return strtoull(word, NULL, 0);
}

int main(void)
{
	char line[MAX_LINE];
	scmp_filter_ctx ctx = NULL;
	int first_arch = 1;

	while (fgets(line, sizeof(line), stdin)) {
		const char *verb = strtok(line, " \n");
		int rc = 0;

		if (!verb)
			continue;
		if (!strcmp(verb, "default")) {
			ctx = seccomp_init(number());
			if (!ctx)
				fail("seccomp_init");
		} else if (!strcmp(verb, "arch")) {
			uint32_t token = number();

			if (first_arch)
				rc = seccomp_arch_remove(ctx, seccomp_arch_native());
			first_arch = 0;
			if (!rc)
				rc = seccomp_arch_add(ctx, token);
			if (rc)
				fail("arch");
		} else if (!strcmp(verb, "optimize")) {
			rc = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, number());
			if (rc)
				fail("optimize");
		} else if (!strcmp(verb, "number")) {
			uint32_t token = number();
			const char *name = strtok(NULL, " \n");
			int nr = seccomp_syscall_resolve_name_arch(token, name);

			fprintf(stderr, "number %u %s %d\n", token, name, nr);
		} else if (!strcmp(verb, "name")) {
			uint32_t token = number();
			int nr = number();
			char *name = seccomp_syscall_resolve_num_arch(token, nr);

			fprintf(stderr, "name %u %d %s\n", token, nr, name ? name : "-");
			free(name);
		} else if (!strcmp(verb, "rule")) {
			unsigned int id = number();
			uint32_t action = number();
			const char *name = strtok(NULL, " \n");
			struct scmp_arg_cmp args[MAX_ARGS];
			unsigned int count = 0;
			const char *word;
			int nr;

			while (count < MAX_ARGS && (word = strtok(NULL, " \n"))) {
				args[count].arg = strtoul(word, NULL, 0);
				args[count].op = number();
				args[count].datum_a = number();
				args[count].datum_b = number();
				count++;
			}
			nr = seccomp_syscall_resolve_name(name);
			if (nr == __NR_SCMP_ERROR)
				rc = -ENOENT;
			else
				rc = seccomp_rule_add_array(ctx, action, nr, count, args);
			if (rc)
				fprintf(stderr, "rule %u %d\n", id, -rc);
		} else {
			fail("no such line");
		}
	}
	if (!ctx || fflush(stdout) || seccomp_export_bpf(ctx, 1))
		fail("export");
	return 0;
}
