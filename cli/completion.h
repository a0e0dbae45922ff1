#ifndef DUET_CLI_COMPLETION_H
#define DUET_CLI_COMPLETION_H

/* Prints the completion of bash, zsh or fish. */
void cli_completion(const char *shell);

#endif
