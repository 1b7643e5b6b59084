keep; /* oh
