require "include";
include "deep4";
include "deep4";
