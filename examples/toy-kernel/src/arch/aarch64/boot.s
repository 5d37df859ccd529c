// From the boot loader to `boot`, at the addresses that the kernel is linked for. x0 has the device tree; paging is off,
// and this is EL1.

.section .text.boot, "ax"
.global boot_start
boot_start:                             // The header of an image.
	b 1f
	.long 0
	.quad 0x200000                  // offset in memory
	.quad image_size
	.quad 2                         // pages of 4 KiB
	.quad 0, 0, 0
	.ascii "ARM\x64"
	.long 0

1:	adrp x1, boot_table
	add x1, x1, :lo12:boot_table
	msr ttbr0_el1, x1
	msr ttbr1_el1, x1
	mov x1, #0xff                   // ordinary memory, and then devices
	msr mair_el1, x1
	ldr x1, =0x2b5193519            // twice 39 bits, pages of 4 KiB, cached and shared tables; 40 bits of memory
	msr tcr_el1, x1
	isb
	tlbi vmalle1
	dsb nsh
	isb
	mrs x1, sctlr_el1
	mov x2, #0x1005                 // MMU and caches
	orr x1, x1, x2
	msr sctlr_el1, x1
	isb
	ldr x1, =1f
	br x1
1:	ldr x1, =boot_stack_end
	mov sp, x1
	ldr x1, =bss_start
	ldr x2, =bss_end
2:	cmp x1, x2
	b.hs 3f
	str xzr, [x1], #8
	b 2b
3:	mov x29, xzr
	bl boot
	udf #0
	.ltorg

.section .data.boot, "aw"
.balign 4096
boot_table:                             // GiB 0 is devices and GiB 1 memory, for both halves.
	.quad 0x0000000000000405
	.quad 0x0000000040000701
	.fill 510, 8, 0

.section .bss.boot, "aw", @nobits
.balign 16
	.skip 65536
boot_stack_end:

.section .text
