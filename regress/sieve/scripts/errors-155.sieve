require "variables";
set "a" "${env.username}";
