# From the firmware to `boot`, at the addresses that the kernel is linked for. a1 has the device tree; paging is off.

.section .text.boot, "ax"
.global boot_start
boot_start:
	la t0, boot_table
	srli t0, t0, 12
	li t1, 8
	slli t1, t1, 60                 # Sv39
	or t0, t0, t1
	sfence.vma
	csrw satp, t0
	sfence.vma
	la t0, 1f
	li t1, -1
	slli t1, t1, 38                 # PHYS_OFFSET
	add t0, t0, t1
	jr t0
1:
	la sp, boot_stack_end
	csrw sscratch, zero
	mv a0, a1
	call boot
	unimp

.section .data.boot, "aw"
.balign 4096
boot_table:                             # GiB 2 where it is, and GiB 0 and 2 where all memory is mapped.
	.fill 2, 8, 0
	.quad 0x200000cf
	.fill 253, 8, 0
	.quad 0x000000cf
	.quad 0
	.quad 0x200000cf
	.fill 253, 8, 0

.section .bss.boot, "aw", @nobits
.balign 16
	.skip 65536
boot_stack_end:

.section .text
