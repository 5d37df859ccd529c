/* A filter through prctl: what the program asks about itself, what is inherited, what is refused. */
#include "common.h"

int main(void)
{
	struct sock_filter insns[] = {
		LOAD(nr), ON(SYS_getppid, SECCOMP_RET_ERRNO | 77), ALWAYS(SECCOMP_RET_ALLOW)
	};
	struct sock_fprog prog = FPROG(insns), none = { .len = 1 };
	uint32_t action = SECCOMP_RET_TRAP, unknown = 0x00060000;
	uint16_t sizes[3] = { 0 };

	show("mode", prctl(PR_GET_SECCOMP));
	show("null", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 0));
	show("null program", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &none));
	show("bad pointer", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, 1));
	show("mode 0", prctl(PR_SET_SECCOMP, 0));
	show("mode 3", prctl(PR_SET_SECCOMP, 3));
	show("op 9", syscall(SYS_seccomp, 9, 0, 0));
	show("flag", syscall(SYS_seccomp, 1, 1 << 20, &prog));
	show("action", syscall(SYS_seccomp, 2, 0, &action));
	show("unknown action", syscall(SYS_seccomp, 2, 0, &unknown));
	show("sizes", syscall(SYS_seccomp, 3, 0, sizes));
	printf("%u %u %u\n", sizes[0], sizes[1], sizes[2]);

	no_new_privs();
	show("install", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
	show("mode", prctl(PR_GET_SECCOMP));
	show("strict", prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
	show("getppid", syscall(SYS_getppid));
	if (fork() == 0) {
		show("child", syscall(SYS_getppid));
		execlp("sh", "sh", "-c", "echo executed; exit 3", NULL);
	}
	int status;
	wait(&status);
	printf("status %d\n", WEXITSTATUS(status));
	return 5;
}
