/* The least that a Cortex-M4 needs before main(): vectors, FPU on, bss zeroed. Also a count of
 * instructions: under `qemu -icount shift=0` one takes a nanosecond, and SysTick counts 40 ns. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern char bss_start[], bss_end[], stack_top[];
extern void initialise_monitor_handles(void);
extern int main(void);

#define CPACR (*(volatile uint32_t*)0xE000ED88u)
#define SYSTICK ((volatile uint32_t*)0xE000E010u) /* control, reload, value */

void reset(void) {
  CPACR |= 0xFu << 20;
  memset(bss_start, 0, (size_t)(bss_end - bss_start));
  SYSTICK[1] = 0xFFFFFFu;
  SYSTICK[2] = 0;
  SYSTICK[0] = 5; /* the processor's clock, 25 MHz */
  initialise_monitor_handles();
  exit(main());
}

/* What newlib calls on the way out; there is nothing to do. */
void _init(void) {}
void _fini(void) {}

static void fault(void) { exit(3); }

uint32_t instructions(void) { return (0xFFFFFFu - SYSTICK[2]) * 40u; }

__attribute__((section(".vectors"), used)) static const void* const vectors[] = {
    stack_top, (void*)reset, (void*)fault, (void*)fault, (void*)fault, (void*)fault,
};
