/* Layouts of the libc crate that rmail relies on, for OpenBSD/amd64. */
#include <sys/types.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysctl.h>
#include <sys/un.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

_Static_assert(sizeof(struct passwd) == 72, "passwd");
_Static_assert(sizeof(struct stat) == 128, "stat");
_Static_assert(sizeof(struct sockaddr_storage) == 256, "sockaddr_storage");
_Static_assert(sizeof(struct sockaddr_un) == 106, "sockaddr_un");
_Static_assert(sizeof(struct msghdr) == 48, "msghdr");
_Static_assert(sizeof(struct cmsghdr) == 12, "cmsghdr");
_Static_assert(sizeof(struct pollfd) == 8, "pollfd");
_Static_assert(sizeof(struct timespec) == 16, "timespec");
_Static_assert(sizeof(struct rlimit) == 16, "rlimit");
_Static_assert(offsetof(struct sockaddr_in6, sin6_scope_id) == 24, "sin6_scope_id");
_Static_assert(CTL_KERN == 1 && KERN_MAXTHREAD == 25, "sysctl");
_Static_assert(SCM_RIGHTS == 1 && SOL_SOCKET == 0xffff, "SCM_RIGHTS");
_Static_assert(O_NOFOLLOW == 0x100 && O_CLOEXEC == 0x10000, "open flags");
_Static_assert(MSG_NOSIGNAL == 0x400 && MSG_CMSG_CLOEXEC == 0x800, "MSG flags");
