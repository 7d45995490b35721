/* A web server that knows nothing of treevisor, in C: it is asked whether it is well.
 *
 *     cc -o web_server examples/web_server.c
 *     treevisor run --probe-http http://127.0.0.1:8084/health --misses 3 -- ./web_server 8084
 *     curl http://127.0.0.1:8084/hang      its loop stands still, and no request is served any more: it is started
 *     again
 *
 * usage: web_server [PORT] */
#define _POSIX_C_SOURCE 200809L
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void serve(int visitor)
{
    /* A client that connects and sends nothing may not hold up the others. */
    const struct timeval patience = {0, 500000};
    char request[4096], answer[256];
    const char *status = "404 Not Found", *page = "no such page\n";
    size_t length = 0;
    setsockopt(visitor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    request[0] = '\0';
    while (length < sizeof request - 1 && strstr(request, "\r\n\r\n") == NULL) {
        ssize_t count = read(visitor, request + length, sizeof request - 1 - length);
        if (count <= 0)
            return;
        length += (size_t)count;
        request[length] = '\0';
    }
    if (strncmp(request, "GET /hang ", 10) == 0)
        for (;;)
            pause();
    if (strncmp(request, "GET / ", 6) == 0) {
        status = "200 OK";
        page = "hello\n";
    } else if (strncmp(request, "GET /health ", 12) == 0) {
        status = "200 OK";
        page = "well\n";
    }
    snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %u\r\n\r\n%s", status,
             (unsigned)strlen(page), page);
    if (write(visitor, answer, strlen(answer)) < 0)
        perror("cannot answer");
}

int main(int count, char **arguments)
{
    const int yes = 1;
    struct sockaddr_in here;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_port = htons((unsigned short)(count > 1 ? atoi(arguments[1]) : 8084));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    signal(SIGPIPE, SIG_IGN); /* A client that hangs up is no reason to end. */
    /* The next incarnation need not wait until the connections of the last one are forgotten. */
    setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (server < 0 || bind(server, (struct sockaddr *)&here, sizeof here) != 0 || listen(server, 64) != 0) {
        perror("cannot listen");
        return 1;
    }
    /* One request after the other: what /health says is true of the loop that serves. */
    for (;;) {
        int visitor = accept(server, NULL, NULL);
        if (visitor >= 0) {
            serve(visitor);
            close(visitor);
        }
    }
}
