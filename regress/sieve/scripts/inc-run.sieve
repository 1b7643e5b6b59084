require "include";
include "file-a";
