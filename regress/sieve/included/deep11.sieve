require "include";
include "deep12";
include "deep12";
