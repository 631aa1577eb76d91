// The emulated board: a clock, a serial line, random bytes, and words on the host's terminal.
#ifndef EXAMPLE_BOARD_H
#define EXAMPLE_BOARD_H

#include <stddef.h>
#include <stdint.h>

// Starts clock and serial line.
void board_init(void);
// Milliseconds since the board started.
uint64_t board_now(void);
// Sleeps until an interrupt comes: a millisecond at the most.
void board_wait(void);
// Sends bytes over the serial line.
void board_send(const uint8_t *bytes, size_t len);
// Returns how many bytes have come over it, `max` at the most.
size_t board_receive(uint8_t *bytes, size_t max);
// Fills `out` with random bytes and returns 0, or returns another number if it cannot.
int32_t board_random(void *context, uint8_t *out, size_t len);
// Prints text, and a number behind it.
void board_print(const char *text);
void board_print_number(const char *text, uint32_t number);
// Returns how many bytes of the stack were in use at the most.
uint32_t board_stack_peak(void);
// Resets the board.
_Noreturn void board_reset(void);
// Ends the emulation with this exit code.
_Noreturn void board_exit(int code);

#endif
