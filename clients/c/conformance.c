/* Drives this client in the conformance tests (clients/README.md): one command a line, one answer a line. */
#include "treevisor.h"

#include <sys/wait.h>

static treevisor_heart heart;

/* `beat`, and fields such as `progress=3`; the status is the last one and goes to the end of the line. */
static void beat(char *fields)
{
    char *status = strstr(fields, "status="), *field;
    if (status) {
        treevisor_status(&heart, status + 7);
        *status = '\0';
    }
    for (field = strtok(fields, " "); field; field = strtok(NULL, " ")) {
        char *value = strchr(field, '=');
        unsigned long long number = value ? strtoull(value + 1, NULL, 10) : 0;
        if (strncmp(field, "progress=", 9) == 0)
            treevisor_progress(&heart, number);
        else if (strncmp(field, "pending=", 8) == 0)
            treevisor_pending(&heart, number);
        else if (strncmp(field, "busy=", 5) == 0)
            treevisor_busy_for(&heart, number);
    }
    treevisor_beat(&heart);
}

/* Leases that grow are never held back, so all of these want to be sent. */
static void flood(unsigned long count)
{
    unsigned long at;
    for (at = 1; at <= count; at++) {
        treevisor_busy_for(&heart, at * 1000);
        treevisor_beat(&heart);
    }
}

static void fork_and_beat(void)
{
    pid_t child = fork();
    if (child == 0) {
        treevisor_heart own;
        beat((char[]){"busy=77000"});
        treevisor_close(&heart);
        own = treevisor_open();
        treevisor_progress(&own, 4711);
        treevisor_beat(&own);
        _exit(treevisor_deliver(&own, 10000) ? 0 : 1);
    }
    waitpid(child, NULL, 0);
}

int main(void)
{
    char line[4096];
    heart = treevisor_open();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, "end") == 0)
            break;
        if (strncmp(line, "beat", 4) == 0)
            beat(line + 4);
        else if (strncmp(line, "flood ", 6) == 0)
            flood(strtoul(line + 6, NULL, 10));
        else if (strcmp(line, "ready") == 0)
            treevisor_ready(&heart);
        else if (strcmp(line, "stopping") == 0)
            treevisor_stopping(&heart);
        else if (strcmp(line, "fork") == 0)
            fork_and_beat();
        if (strcmp(line, "deliver") == 0 && !treevisor_deliver(&heart, 10000))
            printf("not delivered\n");
        else
            printf("ok\n");
        fflush(stdout);
    }
    treevisor_close(&heart);
    return 0;
}
