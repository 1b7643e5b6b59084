require "include";
include "../x";
