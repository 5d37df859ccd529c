/* A program of libseccomp's: filters with each of its actions, for all threads of a process, one of which is the
 * supervisor. It prints what becomes of its calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t barrier;
static scmp_filter_ctx filter;

static void show(const char *what, long result)
{
	printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
	fflush(stdout);
}

/* libseccomp's functions return an errno, negative. */
static void did(const char *what, int result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(-result) : "done");
	fflush(stdout);
}

static void print_name(const char *what, int arch, int nr)
{
	char *name = seccomp_syscall_resolve_num_arch(arch, nr);

	printf("%s %s\n", what, name ? name : "?");
	free(name);
}

static void trapped(int signal, siginfo_t *info, void *context)
{
	printf("signal %d, code %d, data %d: ", signal, info->si_code, info->si_errno);
	print_name("trapped", info->si_arch, info->si_syscall);
}

static void call(const char *who)
{
	printf("%s\n", who);
	show("denied", chdir("/"));
	show("denied by argument", fcntl(1, F_GETFL, 1));
	show("another argument", fcntl(1, F_GETFD));
	/* Of a call that was trapped, the number. */
	show("trapped", syscall(SYS_sched_get_priority_max, SCHED_FIFO));
	show("logged", sched_get_priority_min(SCHED_FIFO));
	printf("mode %d, no_new_privs %d\n", prctl(PR_GET_SECCOMP), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void *calls(void *arg)
{
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	call("thread");
	return NULL;
}

static int actions(void)
{
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
	pthread_t thread;

	sigaction(SIGSYS, &action, NULL);
	pthread_create(&thread, NULL, calls, NULL);
	pthread_barrier_wait(&barrier);
	filter = seccomp_init(SCMP_ACT_ALLOW);
	did("tsync", seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1));
	did("log", seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1));
	did("speculation", seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1));
	did("errno", seccomp_rule_add(filter, SCMP_ACT_ERRNO(EXDEV), SCMP_SYS(chdir), 0));
	did("argument", seccomp_rule_add(filter, SCMP_ACT_ERRNO(EDOM), SCMP_SYS(fcntl), 1,
					 SCMP_A1_32(SCMP_CMP_EQ, F_GETFL)));
	did("trap", seccomp_rule_add(filter, SCMP_ACT_TRAP, SCMP_SYS(sched_get_priority_max), 0));
	did("log", seccomp_rule_add(filter, SCMP_ACT_LOG, SCMP_SYS(sched_get_priority_min), 0));
	did("trace", seccomp_rule_add(filter, SCMP_ACT_TRACE(5), SCMP_SYS(getpgrp), 0));
	did("kill", seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(chroot), 0));
	did("load", seccomp_load(filter));
	call("main");
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	show("nobody traces", syscall(SYS_getpgrp));
	seccomp_release(filter);
	show("killed", chroot("/"));
	return 0;
}

static void *supervise(void *arg)
{
	struct seccomp_notif *request;
	struct seccomp_notif_resp *response;

	did("alloc", seccomp_notify_alloc(&request, &response));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	int listener = seccomp_notify_fd(filter);
	for (int i = 0; i < 4; i++) {
		memset(request, 0, sizeof *request);
		did("receive", seccomp_notify_receive(listener, request));
		print_name("asked about", request->data.arch, request->data.nr);
		did("valid", seccomp_notify_id_valid(listener, request->id));
		response->id = request->id;
		response->val = 40 + request->data.args[0];
		response->error = 0;
		response->flags = 0;
		if (request->data.args[0] == 1) {
			response->val = 0;
			response->error = -EXDEV;
		} else if (request->data.nr == SYS_getpgid) {
			response->val = 0;
			response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		}
		did("respond", seccomp_notify_respond(listener, response));
		did("valid", seccomp_notify_id_valid(listener, request->id));
		pthread_barrier_wait(&barrier);
	}
	seccomp_notify_free(request, response);
	return NULL;
}

static int notified(void)
{
	pthread_t supervisor;
	pid_t group = getpgid(0);

	pthread_create(&supervisor, NULL, supervise, NULL);
	pthread_barrier_wait(&barrier);
	filter = seccomp_init(SCMP_ACT_ALLOW);
	did("tsync", seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1));
	did("notify", seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(getppid), 0));
	did("notify", seccomp_rule_add(filter, SCMP_ACT_NOTIFY, SCMP_SYS(getpgid), 0));
	did("load", seccomp_load(filter));
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 3; i++) {
		long result = syscall(SYS_getppid, i);
		/* The supervisor has printed what it says. */
		pthread_barrier_wait(&barrier);
		show("answered", result);
	}
	int same = syscall(SYS_getpgid, 0) == group;
	pthread_barrier_wait(&barrier);
	show("continued", same);
	pthread_join(supervisor, NULL);
	return 3;
}

static void in_child(const char *what, int (*body)(void))
{
	int status;

	printf("%s\n", what);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		exit(body());
	waitpid(pid, &status, 0);
	printf("ended: %x\n", status & 0xff7f);
}

int main(void)
{
	pthread_barrier_init(&barrier, NULL, 2);
	printf("api level %u\n", seccomp_api_get());
	in_child("actions", actions);
	in_child("notified", notified);
	return 5;
}
