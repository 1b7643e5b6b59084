require "include";
include ".x";
