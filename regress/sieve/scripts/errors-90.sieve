require "enotify";
notify "nothing";
