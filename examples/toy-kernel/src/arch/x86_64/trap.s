# Into user mode and back. Contexts are laid out by `Context` in context.rs.

# enter_user(context): leaves for user mode, and returns when the user has trapped.
.global enter_user
enter_user:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, kernel_stack(%rip)
	mov %rdi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rbp
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp                   # vector, error
	iretq

# An exception or interrupt; its vector, its error code and the frame of the CPU are on the stack. From user mode that
# stack is the context itself.
trapped:
	testb $3, 24(%rsp)
	jz trapped_in_kernel
save_context:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %rbp
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	mov kernel_stack(%rip), %rsp
	cld
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

# The syscall instruction has left the user's %rip in %rcx and its flags in %r11. Interrupts are off.
.global enter_syscall
enter_syscall:
	mov %rsp, user_stack(%rip)
	mov context_end(%rip), %rsp
	push $0x1b                      # %ss
	push user_stack(%rip)
	push %r11
	push $0x23                      # %cs
	push %rcx
	push $0
	push $256                       # SYSCALL in context.rs
	jmp save_context

# In the kernel: an interrupt while it idles, or a fault, which is `kernel_trap`'s.
trapped_in_kernel:
	push %rax
	push %rcx
	push %rdx
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	cld
	lea 72(%rsp), %rdi              # vector, error, and the CPU's frame
	push %rbp
	mov %rsp, %rbp
	and $-16, %rsp
	call kernel_trap
	mov %rbp, %rsp
	pop %rbp
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

# switch(save: *mut usize, load: usize): leaves this kernel stack, its place in `save`, for the one at `load`.
.global switch
switch:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

# probe_write(address) -> whether the kernel can write there. `kernel_trap` continues a fault of the write at
# `probe_write_fault`.
.global probe_write
.global probe_write_at
.global probe_write_fault
probe_write:
	mov (%rdi), %al
probe_write_at:
	mov %al, (%rdi)
	mov $1, %eax
	ret
probe_write_fault:
	xor %eax, %eax
	ret

# One stub for each vector that the machine uses, 16 bytes each.
.balign 16
.global trap_stubs
trap_stubs:
	.set vector, 0
	.rept 48
	.balign 16
	.if (vector != 8) && ((vector < 10) || (vector > 14)) && (vector != 17) && (vector != 21)
	push $0
	.endif
	push $vector
	jmp trapped
	.set vector, vector + 1
	.endr

.section .bss
.balign 8
kernel_stack:
	.skip 8
user_stack:
	.skip 8
.global context_end
context_end:
	.skip 8
.section .text
