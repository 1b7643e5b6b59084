require "include";
include "deep11";
include "deep11";
