/* What rmail declares by hand (src/sys), against OpenBSD's own headers. */
#include <sys/types.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sockio.h>
#include <sys/stat.h>
#include <net/if.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

int (*check_crypt_checkpass)(const char *, const char *) = crypt_checkpass;
int (*check_crypt_newhash)(const char *, const char *, char *, size_t) = crypt_newhash;
int (*check_pledge)(const char *, const char *) = pledge;
int (*check_unveil)(const char *, const char *) = unveil;
void (*check_arc4random_buf)(void *, size_t) = arc4random_buf;
int (*check_getpeereid)(int, uid_t *, gid_t *) = getpeereid;
void (*check_setproctitle)(const char *, ...) = setproctitle;
int (*check_sendsyslog)(const char *, size_t, int) = sendsyslog;
int (*check_closefrom)(int) = closefrom;
void (*check_explicit_bzero)(void *, size_t) = explicit_bzero;

/* struct ifgroupreq as sys/net.rs lays it out. */
_Static_assert(offsetof(struct ifgroupreq, ifgr_len) == 16, "ifgr_len");
_Static_assert(offsetof(struct ifgroupreq, ifgr_ifgru) == 24, "ifgr_ifgru");
_Static_assert(sizeof(struct ifgroupreq) == 40, "ifgroupreq");
_Static_assert(sizeof(struct ifg_req) == 16, "ifg_req");
_Static_assert((unsigned long)SIOCGIFGMEMB ==
    (0xc0000000UL | (40UL << 16) | ('i' << 8) | 138), "SIOCGIFGMEMB");
