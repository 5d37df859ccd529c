// Into user mode and back. Contexts are laid out by `Frame` in context.rs. While user mode runs, the kernel's stack holds
// what `enter_user` has to restore, and the context's address.
.arch_extension fp
.arch_extension simd

// enter_user(context): leaves for user mode, and returns when the user has trapped.
.global enter_user
enter_user:
	sub sp, sp, #112
	stp x19, x20, [sp, #16]
	stp x21, x22, [sp, #32]
	stp x23, x24, [sp, #48]
	stp x25, x26, [sp, #64]
	stp x27, x28, [sp, #80]
	stp x29, x30, [sp, #96]
	str x0, [sp]
	ldp x1, x2, [x0, #248]          // sp, pc
	msr sp_el0, x1
	msr elr_el1, x2
	ldp x1, x2, [x0, #264]          // state, tls
	msr spsr_el1, x1
	msr tpidr_el0, x2
	ldp x2, x3, [x0, #16]
	ldp x4, x5, [x0, #32]
	ldp x6, x7, [x0, #48]
	ldp x8, x9, [x0, #64]
	ldp x10, x11, [x0, #80]
	ldp x12, x13, [x0, #96]
	ldp x14, x15, [x0, #112]
	ldp x16, x17, [x0, #128]
	ldp x18, x19, [x0, #144]
	ldp x20, x21, [x0, #160]
	ldp x22, x23, [x0, #176]
	ldp x24, x25, [x0, #192]
	ldp x26, x27, [x0, #208]
	ldp x28, x29, [x0, #224]
	ldr x30, [x0, #240]
	ldp x0, x1, [x0]
	eret

trapped:
	sub sp, sp, #16
	str x0, [sp]
	ldr x0, [sp, #16]
	str xzr, [x0, #296]
	b 1f
interrupted:
	sub sp, sp, #16
	str x0, [sp]
	ldr x0, [sp, #16]
	str x0, [x0, #296]              // whatever is not 0
1:	str x1, [x0, #8]
	stp x2, x3, [x0, #16]
	stp x4, x5, [x0, #32]
	stp x6, x7, [x0, #48]
	stp x8, x9, [x0, #64]
	stp x10, x11, [x0, #80]
	stp x12, x13, [x0, #96]
	stp x14, x15, [x0, #112]
	stp x16, x17, [x0, #128]
	stp x18, x19, [x0, #144]
	stp x20, x21, [x0, #160]
	stp x22, x23, [x0, #176]
	stp x24, x25, [x0, #192]
	stp x26, x27, [x0, #208]
	stp x28, x29, [x0, #224]
	str x30, [x0, #240]
	ldr x1, [sp], #16
	str x1, [x0]
	mrs x1, sp_el0
	mrs x2, elr_el1
	stp x1, x2, [x0, #248]
	mrs x1, spsr_el1
	mrs x2, tpidr_el0
	stp x1, x2, [x0, #264]
	mrs x1, esr_el1
	mrs x2, far_el1
	stp x1, x2, [x0, #280]
	ldp x19, x20, [sp, #16]
	ldp x21, x22, [sp, #32]
	ldp x23, x24, [sp, #48]
	ldp x25, x26, [sp, #64]
	ldp x27, x28, [sp, #80]
	ldp x29, x30, [sp, #96]
	add sp, sp, #112
	ret

// In the kernel: a fault, which is `kernel_trap`'s. It may go on elsewhere.
trapped_in_kernel:
	sub sp, sp, #160
	stp x0, x1, [sp, #0]
	stp x2, x3, [sp, #16]
	stp x4, x5, [sp, #32]
	stp x6, x7, [sp, #48]
	stp x8, x9, [sp, #64]
	stp x10, x11, [sp, #80]
	stp x12, x13, [sp, #96]
	stp x14, x15, [sp, #112]
	stp x16, x17, [sp, #128]
	stp x18, x30, [sp, #144]
	mrs x0, esr_el1
	mrs x1, elr_el1
	mrs x2, far_el1
	bl kernel_trap
	msr elr_el1, x0
	ldp x0, x1, [sp, #0]
	ldp x2, x3, [sp, #16]
	ldp x4, x5, [sp, #32]
	ldp x6, x7, [sp, #48]
	ldp x8, x9, [sp, #64]
	ldp x10, x11, [sp, #80]
	ldp x12, x13, [sp, #96]
	ldp x14, x15, [sp, #112]
	ldp x16, x17, [sp, #128]
	ldp x18, x30, [sp, #144]
	add sp, sp, #160
	eret

.balign 2048
.global vectors
vectors:
	.set vector, 0
	.rept 16
	.balign 128
	.if vector == 8
	b trapped
	.elseif vector == 9
	b interrupted
	.else
	b trapped_in_kernel
	.endif
	.set vector, vector + 1
	.endr
	.balign 128

// switch(save: *mut usize, load: usize): leaves this kernel stack, its place in `save`, for the one at `load`.
.global switch
switch:
	sub sp, sp, #96
	stp x19, x20, [sp, #0]
	stp x21, x22, [sp, #16]
	stp x23, x24, [sp, #32]
	stp x25, x26, [sp, #48]
	stp x27, x28, [sp, #64]
	stp x29, x30, [sp, #80]
	mov x2, sp
	str x2, [x0]
	mov sp, x1
	ldp x19, x20, [sp, #0]
	ldp x21, x22, [sp, #16]
	ldp x23, x24, [sp, #32]
	ldp x25, x26, [sp, #48]
	ldp x27, x28, [sp, #64]
	ldp x29, x30, [sp, #80]
	add sp, sp, #96
	ret

// probe_write(address) -> whether the kernel can write there. `kernel_trap` continues a fault of the write at
// `probe_write_fault`.
.global probe_write
.global probe_write_at
.global probe_write_fault
probe_write:
	ldrb w1, [x0]
probe_write_at:
	strb w1, [x0]
	mov x0, #1
	ret
probe_write_fault:
	mov x0, #0
	ret

// fpu_save(registers: *mut Fpu), fpu_restore(registers: *const Fpu)
.global fpu_save
fpu_save:
	mrs x1, fpsr
	mrs x2, fpcr
	stp w1, w2, [x0], #16
	stp q0, q1, [x0, #0]
	stp q2, q3, [x0, #32]
	stp q4, q5, [x0, #64]
	stp q6, q7, [x0, #96]
	stp q8, q9, [x0, #128]
	stp q10, q11, [x0, #160]
	stp q12, q13, [x0, #192]
	stp q14, q15, [x0, #224]
	stp q16, q17, [x0, #256]
	stp q18, q19, [x0, #288]
	stp q20, q21, [x0, #320]
	stp q22, q23, [x0, #352]
	stp q24, q25, [x0, #384]
	stp q26, q27, [x0, #416]
	stp q28, q29, [x0, #448]
	stp q30, q31, [x0, #480]
	ret
.global fpu_restore
fpu_restore:
	ldp w1, w2, [x0], #16
	msr fpsr, x1
	msr fpcr, x2
	ldp q0, q1, [x0, #0]
	ldp q2, q3, [x0, #32]
	ldp q4, q5, [x0, #64]
	ldp q6, q7, [x0, #96]
	ldp q8, q9, [x0, #128]
	ldp q10, q11, [x0, #160]
	ldp q12, q13, [x0, #192]
	ldp q14, q15, [x0, #224]
	ldp q16, q17, [x0, #256]
	ldp q18, q19, [x0, #288]
	ldp q20, q21, [x0, #320]
	ldp q22, q23, [x0, #352]
	ldp q24, q25, [x0, #384]
	ldp q26, q27, [x0, #416]
	ldp q28, q29, [x0, #448]
	ldp q30, q31, [x0, #480]
	ret
