require "ihave";
error "as I said";
