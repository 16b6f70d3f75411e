# The smallest web server that can live in hundreds on one machine (4 MB each, asleep until somebody asks): it answers every
# request with the name that its environment gives it, so that whoever asks knows which fork has answered.
use strict;
use warnings;
use Socket;

socket(my $server, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
setsockopt($server, SOL_SOCKET, SO_REUSEADDR, 1) or die "setsockopt: $!";
bind($server, sockaddr_in($ENV{PORT}, INADDR_LOOPBACK)) or die "bind: $!";
listen($server, 64) or die "listen: $!";
$SIG{PIPE} = 'IGNORE';
my $body = $ENV{ECHO} // 'nobody';
my $length = length $body;
while (1) {
    accept(my $client, $server) or next;
    my $head = '';
    while ($head !~ /\r\n\r\n/) { sysread($client, $head, 4096, length $head) or last }
    syswrite($client, "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: $length\r\nconnection: close\r\n\r\n$body");
    close $client;
}
