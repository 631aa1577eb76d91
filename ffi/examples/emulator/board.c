// mps2-an386: Arm's application note 386, and the CMSDK's UART (Arm DDI 0479). Semihosting: Arm's specification 2.0.
#include "board.h"

#define SYSTICK_CSR (*(volatile uint32_t *)0xe000e010u)
#define SYSTICK_RVR (*(volatile uint32_t *)0xe000e014u)
#define SYSTICK_CVR (*(volatile uint32_t *)0xe000e018u)
#define SCB_AIRCR (*(volatile uint32_t *)0xe000ed0cu)
#define UART_DATA (*(volatile uint32_t *)0x40004000u)
#define UART_STATE (*(volatile uint32_t *)0x40004004u)
#define UART_CTRL (*(volatile uint32_t *)0x40004008u)
#define UART_BAUDDIV (*(volatile uint32_t *)0x40004010u)

#define CLOCK_HZ 25000000u
#define TX_FULL 1u
#define RX_FULL 2u
#define STACK_PAINT 0xa5a55a5au
#define STACK_PAINTED (128u * 1024u)

extern uint32_t stack_top, data_start, data_end, data_load, bss_start, bss_end;
int main(void);

static volatile uint64_t ticks;

static int semihosting(int operation, const void *argument) {
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

_Noreturn void board_exit(int code) {
    const uint32_t block[2] = {0x20026u, (uint32_t)code};
    semihosting(0x20, block); // SYS_EXIT_EXTENDED
    for (;;) {
    }
}

void board_print(const char *text) {
    semihosting(0x04, text); // SYS_WRITE0
}

void board_print_number(const char *text, uint32_t number) {
    char digits[16];
    size_t at = sizeof digits - 2;
    digits[at] = '\n';
    digits[at + 1] = 0;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    board_print(text);
    board_print(&digits[at]);
}

// The board has no random source, so the host's is taken. A device has a hardware generator with health tests.
int32_t board_random(void *context, uint8_t *out, size_t len) {
    static const char path[] = "/dev/urandom";
    static int handle = -1;
    (void)context;
    if (handle < 0) {
        const uint32_t open[3] = {(uint32_t)path, 1, sizeof path - 1};
        handle = semihosting(0x01, open); // SYS_OPEN, "rb"
        if (handle < 0) {
            return -1;
        }
    }
    const uint32_t read[3] = {(uint32_t)handle, (uint32_t)out, len};
    return semihosting(0x06, read) == 0 ? 0 : -1; // SYS_READ: what it could not read
}

uint64_t board_now(void) {
    uint64_t first, second;
    do { // the interrupt may come between the two halves
        first = ticks;
        second = ticks;
    } while (first != second);
    return first;
}

void board_wait(void) {
    __asm__ volatile("wfi");
}

void board_send(const uint8_t *bytes, size_t len) {
    for (size_t i = 0; i < len; i++) {
        while (UART_STATE & TX_FULL) {
        }
        UART_DATA = bytes[i];
    }
}

size_t board_receive(uint8_t *bytes, size_t max) {
    size_t len = 0;
    while (len < max && UART_STATE & RX_FULL) {
        bytes[len++] = (uint8_t)UART_DATA;
    }
    return len;
}

void board_init(void) {
    SYSTICK_RVR = CLOCK_HZ / 1000 - 1;
    SYSTICK_CVR = 0;
    SYSTICK_CSR = 7;
    UART_BAUDDIV = 16;
    UART_CTRL = 3;
}

uint32_t board_stack_peak(void) {
    const volatile uint32_t *top = &stack_top;
    const volatile uint32_t *at = top - STACK_PAINTED / 4;
    while (at < top && *at == STACK_PAINT) {
        at++;
    }
    return (uint32_t)(top - at) * 4;
}

_Noreturn void board_reset(void) {
    SCB_AIRCR = 0x05fa0004u;
    for (;;) {
    }
}

static void systick_handler(void) {
    ticks++;
}

static void fault_handler(void) {
    board_print("firmware: FAILED: fault\n");
    board_exit(1);
}

_Noreturn void reset_handler(void) {
    // First the stack below this function, while nothing else is on it.
    uint32_t here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *word = &stack_top - STACK_PAINTED / 4; (uint32_t)word < here; word++) {
        *word = STACK_PAINT;
    }
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = &bss_start; to < &bss_end; to++) {
        *to = 0;
    }
    board_init();
    board_exit(main());
}

struct vectors {
    const uint32_t *stack;
    void (*handlers[15])(void);
};

__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    &stack_top,
    {reset_handler, fault_handler, fault_handler, fault_handler, fault_handler, fault_handler, NULL, NULL, NULL, NULL,
     fault_handler, fault_handler, NULL, fault_handler, systick_handler},
};
