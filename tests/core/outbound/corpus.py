"""Payloads against the guard, written by us from the registries and from what others were caught by."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

# Inner IPv4 addresses, each of which must stay out of reach in every disguise.
INNER = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.254", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8",
    "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
    "192.31.196.1", "192.52.193.1", "192.175.48.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
]  # fmt: skip

INNER_V6 = [
    "::", "::1", "::2", "::ffff:0:1", "100::1", "100:0:0:1::1", "64:ff9b:1::a00:1", "64:ff9b:1:ffff::1",
    "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff::1", "2001:db8::1", "2620:4f:8000::1", "3ffe::1",
    "3fff::1", "3fff:fff::1", "4000::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fd20:ce::254", "fe80::1",
    "fe80::5efe:7f00:1", "febf::1", "fec0::1", "ff02::1", "ff0e::1", "8000::1", "e000::1",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1",
    "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.255.255", "192.169.0.1", "198.17.255.255", "198.20.0.1",
    "223.255.255.255", "168.63.129.15", "168.63.129.17", "2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450::1",
    "2001:200::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip


def disguises(text: str) -> list[str]:
    """Return the IPv6 addresses that carry an IPv4 address inside."""
    number = int(IPv4Address(text))
    turned = number ^ 0xFFFFFFFF
    public = int(IPv4Address("8.8.8.8"))
    return [
        str(IPv6Address(value))
        for value in (
            0xFFFF << 32 | number,  # mapped
            number,  # compatible
            0xFFFF << 48 | number,  # translated (SIIT)
            0x0064FF9B << 96 | number,  # NAT64
            0x2002 << 112 | number << 80 | 1,  # 6to4
            0x20010000 << 96 | public << 64 | turned,  # Teredo client
            0x20010000 << 96 | number << 64 | (public ^ 0xFFFFFFFF),  # Teredo server
            0x2A001450 << 96 | 0x5EFE << 32 | number,  # ISATAP
            0x2A001450 << 96 | 0x02005EFE << 32 | number,  # ISATAP, global
        )
    ]


# URLs that no reading makes acceptable; whatever the name server would say.
MALFORMED = [
    "", "https", "https:", "https:/", "https://", "https:///", "https:///etc/passwd", "//example.com/", "example.com",
    "/path", "http:example.com", "https:example.com", "https:/example.com", "https:\\\\example.com", "ftp://example.com/",
    "file:///etc/passwd", "gopher://example.com/_x", "dict://example.com:11211/", "ldap://example.com/", "jar:https://a!/b",
    "javascript:alert(1)", "data:text/plain,x", "unix:///var/run/docker.sock", "ws://example.com/", "wss://example.com/",
    "https+unix://example.com", "view-source:https://example.com", " https://example.com/", "https://example.com/ ",
    "https://exam ple.com/", "https://example.com/a b", "https://example.com/\r\nX-Evil: 1", "https://example.com\r\n.evil/",
    "https://example.com\t/", "https://example.com\x00.evil.com/", "https://example.com\x7f/", "https://\u00a0example.com/",
    "https://example.com\\@127.0.0.1/", "https://127.0.0.1\\@example.com/", "https:\\/\\/example.com/",
    "https://user@example.com/", "https://user:password@example.com/", "https://:@example.com/", "https://@example.com/",
    "https://example.com@127.0.0.1/", "https://127.0.0.1@example.com/", "https://a@b@example.com/", "https://%40@b/",
    "https://example.com%40127.0.0.1/", "https://example.com:80@127.0.0.1/", "https://example.com:443:80/",
    "https://example.com:/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:99999/",
    "https://example.com:-1/", "https://example.com:1e3/", "https://example.com:８０/", "https://example.com:port/",
    "https://exa%6dple.com/", "https://127.0.0.1%2f@example.com/", "https://[::1/", "https://::1]/", "https://[::1]]/",
    "https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::g]/", "https://[]/", "https://[127.0.0.1]/",
    "https://[::ffff:127.0.0.1]evil.com/", "https://evil.com[::1]/", "https://[v1.fe80]/", "https://[1:2:3]/",
    "https://2130706433/", "https://0x7f000001/", "https://0x7f.0x0.0x0.0x1/", "https://017700000001/", "https://0/",
    "https://0177.0.0.1/", "https://127.1/", "https://127.0.1/", "https://127.0.0.01/", "https://0x7f.1/", "https://1/",
    "https://127.0.0.0x1/", "https://127.0.0.1./", "https://127.0.0.1../", "https://00.00.00.00/", "https://256.1.1.1/",
    "https://1.1.1.1.1/", "https://example.0x7f/", "https://example.127/", "https://425.510.425.510/", "https://3232235521/",
    "https://１２７.０.０.１/", "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://ⓔⓧⓐⓜⓟⓛⓔ.com/", "https://ex\u00adample.com/",
    "https://.example.com/", "https://example..com/", "https://-example.com/", "https://example-.com/", "https://ex!ample.com/",
    "https://ex_am*ple.com/", "https://example.com;evil.com/", "https://example.com,evil.com/", "https://exa'mple.com/",
    "https://exa\"mple.com/", "https://<example>.com/", "https://{example}.com/", "https://example.com|evil/", "https://a^b/",
    "https://`id`.example.com/", "https://$(id).example.com/", "https://" + "a" * 64 + ".com/",
    "https://" + ".".join(["a" * 60] * 5) + "/", "https://example.com/" + "a" * 2048, "https://\ufeffexample.com/",
    "https://example\u2028.com/", "https://?example.com/", "https://#example.com/", "https://:443/",
]  # fmt: skip
