# From the boot protocol's 32-bit entry to `boot` in 64-bit mode, at the addresses that the kernel is linked for.
# PVH: protected mode without paging, %ebx has the physical address of hvm_start_info.

.section .note.pvh, "a", @note
	.long 4, 4, 18                  # XEN_ELFNOTE_PHYS32_ENTRY
	.asciz "Xen"
	.long boot_start_physical

.section .data.boot, "aw"
.balign 4096
.global boot_table_4
boot_table_4:                           # The first and the last GiB are the first GiB of memory.
	.quad boot_table_3_physical + 3
	.fill 510, 8, 0
	.quad boot_table_3_physical + 3
.global boot_table_3
boot_table_3:
	.quad boot_table_2_physical + 3
	.fill 509, 8, 0
	.quad boot_table_2_physical + 3
	.quad 0
.global boot_table_2
boot_table_2:
	.set page, 0
	.rept 512
	.quad page + 0x83               # present, writable, 2 MiB
	.set page, page + 0x200000
	.endr
boot_gdt:
	.quad 0
	.quad 0x00af9b000000ffff        # 64-bit code
	.quad 0x00cf93000000ffff        # data
.global boot_gdt_pointer
boot_gdt_pointer:
	.word boot_gdt_pointer - boot_gdt - 1
	.quad boot_table_2_physical + 4096

.section .bss.boot, "aw", @nobits
.balign 4096
boot_stack:
	.skip 65536
.global boot_stack_end
boot_stack_end:

.section .text.boot, "ax"
.code32
.global boot_start
boot_start:
	mov $boot_stack_end_physical, %esp
	lgdt boot_gdt_pointer_physical
	mov %cr4, %eax
	or $0x20, %eax                  # PAE
	mov %eax, %cr4
	mov $boot_table_4_physical, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx           # EFER
	rdmsr
	or $0x901, %eax                 # SCE, LME, NXE
	wrmsr
	mov %cr0, %eax
	or $0x80010000, %eax            # PG, WP
	mov %eax, %cr0
	ljmp $8, $boot_long_mode_physical
.code64
.global boot_long_mode
boot_long_mode:
	mov $16, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	movabs $boot_stack_end, %rsp
	mov %ebx, %edi
	xor %ebp, %ebp
	movabs $boot, %rax
	call *%rax
	ud2
