require "include";
include "deep9";
include "deep9";
